"""Softmax cross-entropy with soft targets."""

from sympy import Interval, exp, log

from symloss.spec import Prediction, Sum, Target, Words, index, loss


@loss(
    title="Softmax cross-entropy with soft targets",
    reference=(
        "Hinton, Vinyals and Dean 2015, Distilling the knowledge in a neural network, arXiv:1503.02531",
        "Szegedy et al. 2016, Rethinking the Inception architecture (label smoothing), arXiv:1512.00567",
    ),
    family="classification",
    english=Words(
        meaning=(
            "The cross-entropy between a target distribution and the softmax of the logits. A one-hot "
            "target gives softmax_cross_entropy; smoothed labels, mixed samples and a teacher's "
            "probabilities go in as they are."
        ),
        strengths=(
            "Takes any target distribution: label smoothing, mixup, distillation.",
            (
                "Convex in the logits; the gradient is the softmax minus the target, for targets that sum "
                "to 1."
            ),
            "Entries with target 0 add 0, whatever their logit.",
        ),
        weaknesses=(
            "Reads a whole row of targets; with integer labels softmax_cross_entropy moves half the data.",
            "Its minimum is the entropy of the target, not 0.",
        ),
        when="Classification with label smoothing or mixup, and knowledge distillation.",
        differences={
            "torch": "target of probabilities",
        },
    ),
    chinese=Words(
        title="软标签 Softmax 交叉熵",
        meaning=(
            "目标分布与 logits 的 softmax 之间的交叉熵。目标为 one-hot 时即 softmax_cross_entropy；平滑标签、"
            "混合样本、教师模型的概率都可以直接作为目标。"
        ),
        strengths=(
            "目标可以是任意分布：标签平滑、mixup、知识蒸馏。",
            "对 logits 是凸函数；目标归一时梯度就是 softmax 减目标。",
            "目标为 0 的类别贡献为 0，与其 logit 无关。",
        ),
        weaknesses=(
            "要读入整行目标；若只有整数标签，softmax_cross_entropy 的访存量只有一半。",
            "最小值是目标的熵，而不是 0。",
        ),
        when="使用标签平滑或 mixup 的分类，以及知识蒸馏。",
        differences={
            "torch": "目标为概率",
        },
    ),
    aliases={
        "torch": "torch.nn.functional.cross_entropy",
        "optax": "optax.losses.softmax_cross_entropy",
        "keras": "keras.losses.CategoricalCrossentropy(from_logits=True)",
    },
)
def soft_target_cross_entropy(logits: Prediction["K"], target: Target["K"].over(Interval(0, 1))):
    k, j = index("K"), index("K", "j")
    softmax = exp(logits[k]) / Sum(exp(logits[j]), j)
    return -Sum(target[k] * log(softmax), k)
