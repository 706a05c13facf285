"""Cross-entropy."""

from sympy import Interval, log

from symloss.spec import Prediction, Sum, Target, Words, index, loss


@loss(
    title="Cross-entropy",
    reference=(
        "Shannon 1948, A mathematical theory of communication, doi:10.1002/j.1538-7305.1948.tb01338.x",
        "Good 1952, Rational decisions, doi:10.1111/j.2517-6161.1952.tb00104.x",
    ),
    family="classification",
    english=Words(
        meaning=(
            "The mean code length, in nats, of symbols drawn from the target p when the code was made for "
            "the prediction q. Minimising it over q gives q = p. Terms with p = 0 are 0; q = 0 where p > 0 "
            "makes it infinite."
        ),
        strengths=(
            "A proper score: only the true distribution minimises it.",
            (
                "Suits classifiers, with imbalanced classes too: a confident error on a rare class costs "
                "as much as on a common one."
            ),
            "The maximum-likelihood estimate of a categorical distribution.",
        ),
        weaknesses=(
            (
                "Takes probabilities: computing them with a softmax first loses digits, so prefer the "
                "forms that take logits."
            ),
            "Unbounded: one confident mistake can dominate a batch.",
            "Its minimum is the entropy of the target, not 0.",
        ),
        when="Classification with a model that outputs probabilities, and a distribution as target.",
        differences={
            "keras": "renormalises and clips",
            "sklearn": "one-hot targets; clips",
        },
    ),
    chinese=Words(
        title="交叉熵",
        meaning=(
            "符号服从目标分布 p、而编码按预测分布 q 设计时的平均码长，单位为奈特。对 q 求最小得到 q = p。p "
            "= 0 的项取 0；p > 0 而 q = 0 时为无穷大。"
        ),
        strengths=(
            "严格的评分规则：只有真实分布使它最小。",
            "适合分类问题，也适合类别不平衡的数据：在少数类上自信地答错，代价与多数类相同。",
            "等价于类别分布的最大似然估计。",
        ),
        weaknesses=(
            "输入是概率：先做 softmax 再取对数会损失精度，能用 logits 的形式就不要用它。",
            "无上界，一个自信的错误就可能主导整个批次。",
            "最小值是目标的熵，而不是 0。",
        ),
        when="模型直接输出概率、目标是一个分布的分类任务。",
        differences={
            "keras": "先重新归一化再截断",
            "sklearn": "目标为 one-hot；截断概率",
        },
    ),
    aliases={
        "keras": "keras.losses.CategoricalCrossentropy",
        "sklearn": "sklearn.metrics.log_loss",
    },
)
def cross_entropy(prediction: Prediction["K"].over(Interval(0, 1)), target: Target["K"].over(Interval(0, 1))):
    k = index("K")
    p, q = target[k], prediction[k]
    return -Sum(p * log(q), k)
