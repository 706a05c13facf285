"""Jensen-Shannon divergence."""

from sympy import Interval, log

from symloss.spec import Prediction, Sum, Target, Words, index, loss


@loss(
    title="Jensen-Shannon divergence",
    reference="Lin 1991, Divergence measures based on the Shannon entropy, doi:10.1109/18.61115",
    family="divergence",
    english=Words(
        meaning=(
            "The mean of the two Kullback-Leibler divergences of prediction and target from their average "
            "m. It mends the asymmetry of KL and is always finite: at most log 2."
        ),
        strengths=(
            "Symmetric in prediction and target.",
            "Finite even where one distribution is 0 and the other isn't; between 0 and log 2.",
            "Its square root is a metric.",
        ),
        weaknesses=(
            "Nearly flat, at log 2, for distributions that hardly overlap: the gradient there says little.",
            "Costs two logarithms an entry.",
        ),
        when="Comparing two distributions of equal standing, or when KL would be infinite.",
        differences={
            "scipy": "its square root",
        },
    ),
    chinese=Words(
        title="JS 散度",
        meaning=(
            "预测与目标分别到二者平均分布 m 的 KL 散度的均值。它弥补了 KL 不对称的缺点，而且总是有限，不超"
            "过 log 2。"
        ),
        strengths=(
            "对预测和目标对称。",
            "即使一方为 0 而另一方不为 0 也有限，取值在 0 与 log 2 之间。",
            "其平方根是一个度量。",
        ),
        weaknesses=("两个分布几乎不重叠时接近常数 log 2，梯度几乎不含信息。", "每个元素要算两次对数。"),
        when="比较地位对等的两个分布，或 KL 会变成无穷大的场合。",
        differences={
            "scipy": "返回其平方根",
        },
    ),
    aliases={
        "scipy": "scipy.spatial.distance.jensenshannon",
    },
)
def js_divergence(prediction: Prediction["K"].over(Interval(0, 1)), target: Target["K"].over(Interval(0, 1))):
    k = index("K")
    p, q = target[k], prediction[k]
    m = (p + q) / 2
    return (Sum(p * log(p / m), k) + Sum(q * log(q / m), k)) / 2
