"""Binary focal loss."""

from sympy import Eq, Expr, FiniteSet, Interval, Piecewise, exp, log

from symloss.spec import NonNegative, Prediction, Target, Words, loss


def weighted_cross_entropy(logits: Expr, target: Expr, alpha: Expr) -> Expr:
    """What is left of the focal loss without its modulating factor, at gamma = 0."""
    p = 1 / (1 + exp(-logits))
    return -Piecewise((alpha * log(p), Eq(target, 1)), ((1 - alpha) * log(1 - p), True))


@loss(
    title="Binary focal loss",
    reference="Lin et al. 2017, Focal loss for dense object detection, arXiv:1708.02002",
    family="classification",
    english=Words(
        meaning=(
            "The binary cross-entropy, multiplied by (1 - p_t)^gamma, where p_t is the probability of the "
            "true class, and by alpha for positives, 1 - alpha for negatives. At gamma = 0 it is the "
            "alpha-weighted cross-entropy."
        ),
        strengths=(
            "Lowers the weight of easy examples, so that many of them don't drown the few hard ones.",
            "Made for extreme imbalance, as between objects and background in one-stage detectors.",
            "Only two parameters, and the defaults of the paper (0.25 and 2) serve for most tasks.",
        ),
        weaknesses=(
            "Not convex: the second derivative turns negative for badly wrong examples.",
            "Wrong labels count as hard examples and get attention.",
            "Probabilities are less well calibrated; two parameters to tune.",
        ),
        when="Dense detection and other binary problems with far more negatives than positives.",
        differences={
            "optax": "alpha is off by default",
            "keras": "clips",
        },
    ),
    chinese=Words(
        title="二元焦点损失（Focal Loss）",
        meaning=(
            "在二元交叉熵上乘以 (1 - p_t)^gamma，其中 p_t 为真实类别的概率；正例再乘 alpha，负例乘 1 - "
            "alpha。gamma = 0 时即 alpha 加权的交叉熵。"
        ),
        strengths=(
            "降低易分样本的权重，避免大量简单样本淹没少数难样本。",
            "针对极端的类别不平衡而设计，例如单阶段检测器中的前景与背景。",
            "只有 alpha 和 gamma 两个超参数，论文的默认值 0.25 和 2 在多数任务上可用。",
        ),
        weaknesses=(
            "非凸：严重分错的样本上二阶导数为负。",
            "错误标签会被当成难样本而得到更多关注。",
            "概率校准变差，且多出两个超参数。",
        ),
        when="密集目标检测，以及负例远多于正例的二分类任务。",
        differences={
            "optax": "默认不使用 alpha",
            "keras": "截断概率",
        },
    ),
    aliases={
        "torchvision": "torchvision.ops.sigmoid_focal_loss",
        "optax": "optax.losses.sigmoid_focal_loss",
        "keras": "keras.losses.BinaryFocalCrossentropy(from_logits=True, apply_class_balancing=True)",
        "catboost": "Focal",
    },
    limits={"gamma": {0: weighted_cross_entropy}},
)
def binary_focal(
    logits: Prediction,
    target: Target.over(FiniteSet(0, 1)),
    alpha: Interval(0, 1) = 0.25,
    gamma: NonNegative = 2,
):
    p = 1 / (1 + exp(-logits))
    p_t = Piecewise((p, Eq(target, 1)), (1 - p, True))
    alpha_t = Piecewise((alpha, Eq(target, 1)), (1 - alpha, True))
    return -alpha_t * (1 - p_t) ** gamma * log(p_t)
