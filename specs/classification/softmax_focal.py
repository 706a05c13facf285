"""Softmax focal loss."""

from sympy import exp, log

from symloss.losses import softmax_cross_entropy
from symloss.spec import Label, NonNegative, Prediction, Sum, Words, index, loss


@loss(
    title="Softmax focal loss",
    reference="Lin et al. 2017, Focal loss for dense object detection, arXiv:1708.02002",
    family="classification",
    english=Words(
        meaning=(
            "The softmax cross-entropy of the true class, multiplied by (1 - p)^gamma, where p is the true "
            "class's probability. At gamma = 0 it is softmax_cross_entropy."
        ),
        strengths=(
            "Lowers the weight of easy examples, so that many of them don't drown the few hard ones.",
            "One parameter; gamma = 0 gives back the cross-entropy.",
        ),
        weaknesses=(
            "Not convex, unlike the cross-entropy.",
            "Wrong labels count as hard examples and get attention.",
            "Probabilities tend to be underconfident.",
        ),
        when="Classification with many classes or strong imbalance, where most samples are easy.",
        differences={
            "keras": "multiplies by alpha = 0.25, clips",
            "kornia": "with alpha",
        },
    ),
    chinese=Words(
        title="Softmax 焦点损失",
        meaning=(
            "在 softmax 交叉熵上乘以 (1 - p)^gamma，p 为真实类别的概率。gamma = 0 时即 "
            "softmax_cross_entropy。"
        ),
        strengths=(
            "降低易分样本的权重，避免大量简单样本淹没少数难样本。",
            "只有一个超参数，gamma = 0 时退化为交叉熵。",
        ),
        weaknesses=(
            "与交叉熵不同，它不是凸函数。",
            "错误标签会被当成难样本而得到更多关注。",
            "输出的概率往往偏保守。",
        ),
        when="类别多或严重不平衡、且大部分样本容易分对的分类任务。",
        differences={
            "keras": "另乘 alpha = 0.25，并截断概率",
            "kornia": "带 alpha",
        },
    ),
    aliases={
        "keras": "keras.losses.CategoricalFocalCrossentropy(from_logits=True)",
        "monai": "monai.losses.FocalLoss(use_softmax=True)",
        "kornia": "kornia.losses.focal_loss",
    },
    limits={"gamma": {0: softmax_cross_entropy}},
)
def softmax_focal(logits: Prediction["K"], label: Label["K"], gamma: NonNegative = 2):
    k = index("K")
    p = exp(logits[label]) / Sum(exp(logits[k]), k)
    return -((1 - p) ** gamma) * log(p)
