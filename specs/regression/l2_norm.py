"""L2 norm of the residual."""

from sympy import sqrt

from symloss.spec import Prediction, Sum, Target, Words, index, loss


@loss(
    title="L2 norm of the residual",
    reference=(
        "Weiszfeld and Plastria 2009, On the point for which the sum of the distances to n given points is "
        "minimum, doi:10.1007/s10479-008-0352-z"
    ),
    family="regression",
    english=Words(
        meaning=(
            "The Euclidean length of the residual vector. For one vector its minimum is that of the sum of "
            "squares, the maximum-likelihood estimate under independent Gaussian noise; averaged over "
            "samples it isn't squared, and estimates the geometric median."
        ),
        strengths=(
            "Doesn't depend on the choice of axes: rotating prediction and target changes nothing.",
            "Every sample pulls with a force of at most 1, so a far-off sample doesn't dominate the mean.",
            "In the unit of the target.",
        ),
        weaknesses=(
            "Not differentiable where prediction and target are equal; the subgradient 0 is taken there.",
            "The gradient keeps length 1 near the minimum: decay the learning rate.",
            "Curvature grows without bound as the residual shrinks.",
        ),
        when="Positions, displacements and other vectors whose error is a distance.",
        differences={
            "torch": "torch.nn.functional.pairwise_distance adds 1e-6 to the difference",
            "jax": "NaN gradient at 0",
        },
    ),
    chinese=Words(
        title="L2 范数损失",
        meaning=(
            "残差向量的欧氏长度。对单个向量，其最小点与平方和相同，即独立高斯噪声下的最大似然估计；对样本取"
            "平均时没有平方，估计的是几何中位数。"
        ),
        strengths=(
            "与坐标轴的选取无关：预测和目标一起旋转，损失不变。",
            "每个样本的拉力不超过 1，偏差大的样本不会主导均值。",
            "与目标同量纲。",
        ),
        weaknesses=(
            "预测等于目标时不可导，该处取次梯度 0。",
            "接近最优点时梯度长度仍为 1，需要让学习率衰减。",
            "残差趋于 0 时曲率无界增大。",
        ),
        when="位置、位移等误差本身就是距离的向量回归。",
        differences={
            "torch": "torch.nn.functional.pairwise_distance 会在差上加 1e-6",
            "jax": "在 0 处梯度为 NaN",
        },
    ),
    aliases={
        "torch": "torch.linalg.vector_norm(prediction - target, dim=-1)",
        "jax": "jax.numpy.linalg.norm(prediction - target, axis=-1)",
        "scipy": "scipy.spatial.distance.euclidean",
    },
)
def l2_norm(prediction: Prediction["D"], target: Target["D"]):
    d = index("D")
    residual = prediction[d] - target[d]
    return sqrt(Sum(residual**2, d))
