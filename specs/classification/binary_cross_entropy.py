"""Binary cross-entropy."""

from sympy import Interval, log

from symloss.spec import Prediction, Target, Words, loss


@loss(
    title="Binary cross-entropy",
    reference=(
        "Cox 1958, The regression analysis of binary sequences, doi:10.1111/j.2517-6161.1958.tb00292.x",
        "Good 1952, Rational decisions, doi:10.1111/j.2517-6161.1952.tb00104.x",
    ),
    family="classification",
    english=Words(
        meaning=(
            "The cross-entropy of a yes-or-no outcome: the prediction q is the probability of yes, and the "
            "target is 1, 0, or a probability between them. A term whose weight is 0 is 0; a certain "
            "prediction that is wrong is infinite."
        ),
        strengths=(
            "A proper score: the true probability minimises it.",
            "Also takes soft targets, and several labels that don't exclude each other.",
        ),
        weaknesses=(
            (
                "Probabilities near 1 have lost their digits: with logits use "
                "binary_cross_entropy_with_logits."
            ),
            "Infinite for a certain mistake; nothing is clipped here.",
        ),
        when="Binary or multi-label classification with a model that outputs probabilities.",
        differences={
            "torch": "clamps the logarithm at -100",
            "keras": "clips the prediction",
            "sklearn": "clips",
        },
    ),
    chinese=Words(
        title="二元交叉熵",
        meaning=(
            "是非结果的交叉熵：预测 q 是“是”的概率，目标为 1、0 或介于其间的概率。系数为 0 的项取 0；以概率"
            " 0 或 1 断言而断错时为无穷大。"
        ),
        strengths=("严格的评分规则：真实概率使它最小。", "支持软标签，也支持互不排斥的多标签。"),
        weaknesses=(
            "接近 1 的概率已丢失有效数字；有 logits 时请用 binary_cross_entropy_with_logits。",
            "完全确信却错误时为无穷大，这里不做截断。",
        ),
        when="模型直接输出概率的二分类或多标签分类。",
        differences={
            "torch": "把对数截断在 -100",
            "keras": "截断预测值",
            "sklearn": "截断概率",
        },
    ),
    aliases={
        "torch": "torch.nn.functional.binary_cross_entropy",
        "keras": "keras.losses.BinaryCrossentropy",
        "sklearn": "sklearn.metrics.log_loss",
    },
)
def binary_cross_entropy(prediction: Prediction.over(Interval(0, 1)), target: Target.over(Interval(0, 1))):
    q = prediction
    return -(target * log(q) + (1 - target) * log(1 - q))
