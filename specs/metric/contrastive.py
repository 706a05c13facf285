"""Contrastive loss."""

from sympy import FiniteSet, sqrt

from symloss.spec import Max, Positive, Prediction, Sum, Target, Words, index, loss


@loss(
    title="Contrastive loss",
    reference=(
        "Hadsell, Chopra and LeCun 2006, Dimensionality reduction by learning an invariant mapping, "
        "doi:10.1109/CVPR.2006.100"
    ),
    family="metric",
    english=Words(
        meaning=(
            "For two feature vectors at distance d: similar ones are pulled together by d^2/2, dissimilar "
            "ones pushed apart until they are a margin away, by max(0, margin - d)^2/2."
        ),
        strengths=(
            "Needs only pairs and whether they are similar: no classes.",
            "Dissimilar pairs beyond the margin cost nothing, so the embedding doesn't fly apart.",
            "Mends the weak discrimination of softmax features when added to the softmax loss.",
        ),
        weaknesses=(
            "The number of pairs grows with the square of the samples, and most are easy: mining matters.",
            "margin has to suit the scale of the features.",
            "For a dissimilar pair at distance 0 the direction is undefined: the subgradient 0 is taken.",
        ),
        when=(
            "Verification, retrieval and embeddings learned from pairs; with softmax loss for face "
            "recognition."
        ),
        differences={
            "pytorch-metric-learning": "distances not squared; normalises the features",
        },
    ),
    chinese=Words(
        title="对比损失",
        meaning=(
            "设两个特征向量的距离为 d：相似的一对以 d^2/2 拉近，不相似的一对以 max(0, margin - d)^2/2 推开，"
            "直到距离达到 margin。"
        ),
        strengths=(
            "只需要样本对和是否相似的标记，不需要类别。",
            "不相似且距离超过 margin 的样本对不再产生损失，特征不会无限散开。",
            "与 softmax 损失联合使用，可弥补后者特征判别力的不足。",
        ),
        weaknesses=(
            "样本对数量按平方增长，且大多很容易，需要难例挖掘。",
            "margin 要与特征的尺度匹配。",
            "不相似的一对距离恰为 0 时方向无定义，取次梯度 0。",
        ),
        when="验证、检索以及由样本对学习嵌入的任务；在人脸识别中常与 softmax 损失联合使用。",
        differences={
            "pytorch-metric-learning": "距离不取平方，且先归一化特征",
        },
    ),
    aliases={
        "pytorch-metric-learning": "pytorch_metric_learning.losses.ContrastiveLoss",
    },
)
def contrastive(
    left: Prediction["D"],
    right: Prediction["D"],
    similar: Target.over(FiniteSet(0, 1)),
    margin: Positive = 1,
):
    d = index("D")
    distance = sqrt(Sum((left[d] - right[d]) ** 2, d))
    return similar * distance**2 / 2 + (1 - similar) * Max(0, margin - distance) ** 2 / 2
