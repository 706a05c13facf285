"""Cross-entropy with integer labels."""

from sympy import Interval, log

from symloss.spec import Label, Prediction, Words, loss


@loss(
    title="Cross-entropy with integer labels",
    reference=(
        "Good 1952, Rational decisions, doi:10.1111/j.2517-6161.1952.tb00104.x",
        (
            "Gneiting and Raftery 2007, Strictly proper scoring rules, prediction, and estimation, "
            "doi:10.1198/016214506000001437"
        ),
    ),
    family="classification",
    english=Words(
        meaning=(
            "Minus the logarithm of the probability that the model gave to the right class: the "
            "cross-entropy with a one-hot target, without building it. A probability of 0 for the right "
            "class is infinite."
        ),
        strengths=(
            "Depends on one entry a row: no one-hot target is needed.",
            "A proper score: the true probabilities minimise it.",
            "Suits classifiers, with imbalanced classes too.",
        ),
        weaknesses=(
            "Takes probabilities, which lose digits near 0 and 1; with logits use softmax_cross_entropy.",
            "Unbounded for a confident mistake.",
            (
                "The gradient reaches only the labelled entry; the others learn through whatever "
                "normalised the row."
            ),
        ),
        when="Classification with integer labels and a model that outputs probabilities.",
        differences={
            "keras": "renormalises and clips",
            "torch": "takes log-probabilities",
            "sklearn": "clips",
        },
    ),
    chinese=Words(
        title="稀疏交叉熵（整数标签）",
        meaning=(
            "模型给正确类别的概率取负对数，即 one-hot 目标的交叉熵，但无需构造 one-hot 向量。正确类别的概率"
            "为 0 时结果为无穷大。"
        ),
        strengths=(
            "每行只取决于一个元素，无需展开成 one-hot 目标。",
            "严格的评分规则：真实概率使它最小。",
            "适合分类问题，也适合类别不平衡的数据。",
        ),
        weaknesses=(
            "输入是概率，在 0 和 1 附近精度不足；有 logits 时请用 softmax_cross_entropy。",
            "自信地答错时没有上界。",
            "梯度只落在标签对应的元素上，其余元素要靠归一化层间接学习。",
        ),
        when="标签为整数、模型直接输出概率的分类任务。",
        differences={
            "keras": "先重新归一化再截断",
            "torch": "输入为对数概率",
            "sklearn": "截断概率",
        },
    ),
    aliases={
        "keras": "keras.losses.SparseCategoricalCrossentropy",
        "torch": "torch.nn.functional.nll_loss",
        "sklearn": "sklearn.metrics.log_loss",
    },
)
def sparse_cross_entropy(prediction: Prediction["K"].over(Interval(0, 1)), label: Label["K"]):
    q = prediction[label]
    return -log(q)
