"""Softmax cross-entropy with integer labels."""

from sympy import exp, log

from symloss.spec import Label, Prediction, Sum, Words, index, loss


@loss(
    title="Softmax cross-entropy",
    reference=(
        "Bridle 1990, Probabilistic interpretation of feedforward classification network outputs, "
        "doi:10.1007/978-3-642-76153-9_28"
    ),
    family="classification",
    english=Words(
        meaning=(
            "Minus the logarithm of the softmax probability of the right class, often called the softmax "
            "loss: the loss of multinomial logistic regression."
        ),
        strengths=(
            "Separates classes well, is convex in the logits, and costs one pass over a row.",
            "Its gradient is the softmax minus the one-hot target, and never explodes.",
            "Suits imbalanced classes too; weights can be added by sample.",
        ),
        weaknesses=(
            (
                "Its features separate classes but don't discriminate enough: nothing pulls the samples of "
                "one class together, hence the combination with the contrastive or the center loss."
            ),
            "Wrong labels pull as hard as right ones.",
            "Probabilities tend to be too confident.",
        ),
        when=(
            "Classification into classes that exclude each other; the default there. For verification and "
            "retrieval, combine it with a metric loss (softmax_center)."
        ),
    ),
    chinese=Words(
        title="Softmax 交叉熵",
        meaning="正确类别的 softmax 概率取负对数，常简称 softmax 损失，即多项逻辑回归的损失函数。",
        strengths=(
            "类间可分性好，对 logits 是凸函数，每行扫描一遍即可算完。",
            "梯度就是 softmax 减去 one-hot 目标，不会爆炸。",
            "也适用于类别不平衡的数据，可按样本加权。",
        ),
        weaknesses=(
            "学到的特征可分但判别力不足：没有把同类样本拉拢的作用，因此常与对比损失或中心损失联合使用。",
            "错误标签的拉力与正确标签一样大。",
            "输出的概率往往过于自信。",
        ),
        when=(
            "类别互斥的分类任务的默认选择；人脸验证、检索等任务宜与度量学习损失联合使用"
            "（见 softmax_center）。"
        ),
    ),
    aliases={
        "torch": "torch.nn.functional.cross_entropy",
        "optax": "optax.losses.softmax_cross_entropy_with_integer_labels",
        "keras": "keras.losses.SparseCategoricalCrossentropy(from_logits=True)",
        "sklearn": "sklearn._loss.HalfMultinomialLoss",
        "xgboost": "multi:softprob",
        "lightgbm": "multiclass",
        "catboost": "MultiClass",
    },
)
def softmax_cross_entropy(logits: Prediction["K"], label: Label["K"]):
    k = index("K")
    return -log(exp(logits[label]) / Sum(exp(logits[k]), k))
