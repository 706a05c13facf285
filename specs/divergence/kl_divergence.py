"""Kullback-Leibler divergence."""

from sympy import Interval, log

from symloss.spec import Prediction, Sum, Target, Words, index, loss


@loss(
    title="Kullback-Leibler divergence",
    reference="Kullback and Leibler 1951, On information and sufficiency, doi:10.1214/aoms/1177729694",
    family="divergence",
    english=Words(
        meaning=(
            "The information that is lost when the distribution q (the prediction) stands in for p (the "
            "target), in nats. Terms with p = 0 are 0; q = 0 where p > 0 makes it infinite. Never "
            "negative, and 0 only for equal distributions."
        ),
        strengths=(
            "Non-negative, and zero only when both distributions are equal.",
            (
                "Differs from the cross-entropy by the entropy of the target, so both have the same "
                "gradient, and its minimum value is 0."
            ),
            "Convex in both arguments together.",
        ),
        weaknesses=(
            "Not symmetric: KL(p, q) and KL(q, p) differ, and it is no distance.",
            "Infinite as soon as q is 0 where p isn't.",
            "Both rows must sum to 1; nothing here normalises them.",
        ),
        when=(
            "Matching a target distribution: distillation, variational inference, calibration. From "
            "logits, use soft_target_cross_entropy."
        ),
        differences={
            "torch": (
                'takes log-probabilities as input; its reduction="mean" divides by all entries, "batchmean" '
                "by rows"
            ),
            "optax": "takes the logarithm of the prediction",
            "keras": "clips both arguments",
        },
    ),
    chinese=Words(
        title="KL 散度（相对熵）",
        meaning=(
            "用分布 q（预测）近似 p（目标）时损失的信息量，单位为奈特。p = 0 的项取 0；p > 0 而 q = 0 时为"
            "无穷大。KL 散度非负，仅当两个分布相等时为 0。"
        ),
        strengths=(
            "非负，且仅当两个分布相同时为零。",
            "与交叉熵只差目标的熵，梯度相同，而最小值恰为 0。",
            "对两个分布联合凸。",
        ),
        weaknesses=(
            "不对称：KL(p, q) 与 KL(q, p) 不相等，不是距离。",
            "只要有 p > 0 而 q = 0 的类别，结果就是无穷大。",
            "两行都应归一化为概率分布，这里不做归一化。",
        ),
        when=(
            "让预测逼近目标分布的场合：知识蒸馏、变分推断、概率校准。若手上是 logits，请用 "
            "soft_target_cross_entropy。"
        ),
        differences={
            "torch": '输入为对数概率；reduction="mean" 除以元素总数，"batchmean" 才除以行数',
            "optax": "输入为预测值的对数",
            "keras": "两个参数都会被截断",
        },
    ),
    aliases={
        "torch": "torch.nn.functional.kl_div",
        "optax": "optax.losses.kl_divergence",
        "keras": "keras.losses.KLDivergence",
        "scipy": "scipy.special.rel_entr(target, prediction).sum(-1)",
        "jax": "jax.scipy.special.rel_entr(target, prediction).sum(-1)",
    },
)
def kl_divergence(prediction: Prediction["K"].over(Interval(0, 1)), target: Target["K"].over(Interval(0, 1))):
    k = index("K")
    p, q = target[k], prediction[k]
    return Sum(p * log(p / q), k)
