"""Binary cross-entropy with logits."""

from sympy import Interval, exp, log

from symloss.spec import Positive, Prediction, Target, Words, loss


@loss(
    title="Binary cross-entropy with logits",
    reference=(
        "Cox 1958, The regression analysis of binary sequences, doi:10.1111/j.2517-6161.1958.tb00292.x"
    ),
    family="classification",
    english=Words(
        meaning=(
            "The binary cross-entropy of q = sigmoid(logits): logistic regression's loss. pos_weight "
            "multiplies the positive part, to balance rare positives."
        ),
        strengths=(
            "Stable for any logit: neither the loss nor its gradient saturates to a false 0.",
            "Smooth and convex; without pos_weight the gradient is q minus the target.",
            "pos_weight trades recall for precision.",
        ),
        weaknesses=(
            "Grows linearly with a wrong logit, so wrong labels pull steadily.",
            "On separable data the logits grow without bound unless something regularises them.",
        ),
        when="Binary and multi-label classification; the default there.",
        differences={
            "xgboost": "scale_pos_weight is pos_weight",
            "lightgbm": "scale_pos_weight is pos_weight",
        },
    ),
    chinese=Words(
        title="带 logits 的二元交叉熵",
        meaning=(
            "q = sigmoid(logits) 的二元交叉熵，也就是逻辑回归的损失。pos_weight 乘在正例项上，用来平衡稀少"
            "的正例。"
        ),
        strengths=(
            "logits 取任何值都数值稳定，损失和梯度都不会错误地饱和到 0。",
            "光滑且为凸函数；不加 pos_weight 时梯度就是 q 减目标。",
            "调节 pos_weight 可以在召回率与精确率之间取舍。",
        ),
        weaknesses=(
            "logit 错得越多，损失线性增长，错误标签会持续产生拉力。",
            "数据线性可分时若无正则化，logits 会无限增大。",
        ),
        when="二分类与多标签分类的默认选择。",
        differences={
            "xgboost": "scale_pos_weight 即 pos_weight",
            "lightgbm": "scale_pos_weight 即 pos_weight",
        },
    ),
    aliases={
        "torch": "torch.nn.functional.binary_cross_entropy_with_logits",
        "optax": "optax.losses.sigmoid_binary_cross_entropy",
        "keras": "keras.losses.BinaryCrossentropy(from_logits=True)",
        "sklearn": "sklearn._loss.HalfBinomialLoss",
        "xgboost": "binary:logistic",
        "lightgbm": "binary",
        "catboost": "Logloss",
    },
)
def binary_cross_entropy_with_logits(
    logits: Prediction,
    target: Target.over(Interval(0, 1)),
    pos_weight: Positive = 1,
):
    q = 1 / (1 + exp(-logits))
    return -(pos_weight * target * log(q) + (1 - target) * log(1 - q))
