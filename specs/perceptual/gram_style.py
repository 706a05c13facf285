"""Gram matrix style loss."""

from symloss.spec import Prediction, Sum, Target, Words, index, loss, size


@loss(
    title="Gram matrix style loss",
    reference=(
        "Gatys, Ecker and Bethge 2015, A neural algorithm of artistic style, arXiv:1508.06576",
        (
            "Johnson, Alahi and Fei-Fei 2016, Perceptual losses for real-time style transfer and "
            "super-resolution, arXiv:1603.08155"
        ),
    ),
    family="perceptual",
    english=Words(
        meaning=(
            "The squared Frobenius distance between the Gram matrices of two feature maps, each divided by "
            "C H W. A Gram matrix says which channels fire together, wherever they do: the style, without "
            "the arrangement."
        ),
        strengths=(
            "Carries texture and color and forgets positions, which is what style means here.",
            "Converges quickly for style transfer, with a fixed network.",
        ),
        weaknesses=(
            "Costs a product of matrices, C^2 H W multiplications.",
            (
                "Of fourth degree in the features: not convex, and the scale of the gradient changes with "
                "theirs, so its weight needs tuning."
            ),
            "Knows nothing of long-range structure.",
        ),
        when="Style transfer and texture synthesis, with a content term (see perceptual).",
        differences={
            "piq": "Gram matrices not normalised",
        },
    ),
    chinese=Words(
        title="Gram 矩阵风格损失",
        meaning=(
            "两幅特征图的 Gram 矩阵（各除以 C H W）之差的 Frobenius 范数的平方。Gram 矩阵记录哪些通道同时激"
            "活，而不管在哪里激活：这就是去掉布局之后的风格。"
        ),
        strengths=("保留纹理与色彩、忽略位置，正是这里所说的风格。", "网络固定时，用于风格迁移收敛快。"),
        weaknesses=(
            "需要一次矩阵乘法，乘法次数为 C^2 H W。",
            "对特征是四次函数：非凸，梯度大小随特征尺度变化，权重需要调节。",
            "不包含长程结构的信息。",
        ),
        when="风格迁移与纹理合成，配合内容项使用（见 perceptual）。",
        differences={
            "piq": "Gram 矩阵未归一化",
        },
    ),
    aliases={
        "piq": "piq.StyleLoss",
    },
)
def gram_style(features: Prediction["C", "H", "W"], target_features: Target["C", "H", "W"]):
    c, d, h, w = index("C"), index("C", "d"), index("H"), index("W")
    count = size("C") * size("H") * size("W")
    gram = Sum(features[c, h, w] * features[d, h, w], h, w) / count
    target_gram = Sum(target_features[c, h, w] * target_features[d, h, w], h, w) / count
    return Sum((gram - target_gram) ** 2, c, d)
