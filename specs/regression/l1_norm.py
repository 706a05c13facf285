"""L1 norm of the residual."""

from sympy import Abs

from symloss.spec import Prediction, Sum, Target, Words, index, loss


@loss(
    title="L1 norm of the residual",
    reference=(
        "Portnoy and Koenker 1997, The Gaussian hare and the Laplacian tortoise, doi:10.1214/ss/1030037960"
    ),
    family="regression",
    english=Words(
        meaning=(
            "The sum of the absolute residuals of a vector: the distance along the axes. It treats every "
            "component by itself, as the absolute error does."
        ),
        strengths=(
            "Robust: a component that is far off pulls no harder than one that is slightly off.",
            "Convex, in the unit of the target, without parameters.",
        ),
        weaknesses=(
            "Not differentiable where a component's residual is 0; the subgradient 0 is taken there.",
            "The gradient doesn't shrink near the minimum: decay the learning rate.",
            "Grows with the number of components, so values of different dimensions don't compare.",
        ),
        when="Vector-valued regression in which single components may be badly wrong.",
    ),
    chinese=Words(
        title="L1 范数损失",
        meaning="向量各分量残差绝对值之和，即曼哈顿距离。各分量互不影响，性质与绝对误差相同。",
        strengths=("鲁棒：偏差很大的分量与略有偏差的分量拉力相同。", "凸函数，与目标同量纲，无超参数。"),
        weaknesses=(
            "某个分量残差为 0 时不可导，该处取次梯度 0。",
            "接近最优点时梯度不减小，需要让学习率衰减。",
            "数值随维数增长，不同维数之间不可直接比较。",
        ),
        when="输出为向量、个别分量可能严重偏离的回归任务。",
    ),
    aliases={
        "torch": "torch.linalg.vector_norm(prediction - target, ord=1, dim=-1)",
        "jax": "jax.numpy.linalg.norm(prediction - target, ord=1, axis=-1)",
        "scipy": "scipy.spatial.distance.cityblock",
    },
)
def l1_norm(prediction: Prediction["D"], target: Target["D"]):
    d = index("D")
    residual = prediction[d] - target[d]
    return Sum(Abs(residual), d)
