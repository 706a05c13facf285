"""Squared distance of unit vectors."""

from symloss.normalize import l2_normalize
from symloss.spec import Prediction, Sum, Target, Words, index, loss


@loss(
    title="Squared distance of unit vectors",
    reference=(
        "Grill et al. 2020, Bootstrap your own latent, arXiv:2006.07733",
        "Wang et al. 2017, NormFace: L2 hypersphere embedding for face verification, arXiv:1704.06369",
    ),
    family="normalized",
    english=Words(
        meaning=(
            "The sum of the squared differences of two vectors after each is scaled to length 1. It equals "
            "2 (1 - cos), where cos is the cosine of the angle between them, and lies between 0 and 4."
        ),
        strengths=(
            "Only the direction counts, so a network can't lower it by shrinking its features.",
            (
                "Bounded; the squared-distance form keeps its digits for nearly parallel vectors, where 1 "
                "- cos loses them."
            ),
        ),
        weaknesses=(
            (
                "The gradient grows as the vector gets shorter, and a zero vector gives NaN: nothing is "
                "added to the length."
            ),
            "The length is left free, which other terms may need to fix.",
        ),
        when="Embeddings that are compared by cosine: self-supervised learning, retrieval, verification.",
        differences={
            "optax": "half of it",
            "keras": "minus the cosine",
            "scipy": "half of it",
        },
    ),
    chinese=Words(
        title="单位向量的平方距离",
        meaning=(
            "两个向量各自缩放为单位长度之后，差的平方和（不除以维数）。它等于 2 (1 - cos)，cos 为两向量夹角"
            "的余弦，取值在 0 到 4 之间。"
        ),
        strengths=(
            "只比较方向，网络无法靠缩小特征来降低损失。",
            "有界；两个向量几乎平行时，平方距离的形式比 1 - cos 更精确。",
        ),
        weaknesses=(
            "向量越短梯度越大，零向量给出 NaN；这里不在长度上加任何小量。",
            "不约束向量长度，有需要时由其他项约束。",
        ),
        when="用余弦比较的嵌入：自监督学习、检索、验证。",
        differences={
            "optax": "为其一半",
            "keras": "为余弦值的相反数",
            "scipy": "为其一半",
        },
    ),
    aliases={
        "torch": "2 - 2 * torch.nn.functional.cosine_similarity",
        "optax": "optax.losses.cosine_distance",
        "keras": "keras.losses.CosineSimilarity",
        "scipy": "scipy.spatial.distance.cosine",
    },
)
def l2_normalized_mse(prediction: Prediction["D"], target: Target["D"]):
    d = index("D")
    residual = l2_normalize(prediction)[d] - l2_normalize(target)[d]
    return Sum(residual**2, d)
