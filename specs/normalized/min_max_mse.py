"""Mean squared error of rows scaled to the unit range."""

from symloss.normalize import min_max
from symloss.spec import Prediction, Sum, Target, Words, index, loss, size


@loss(
    title="Mean squared error of rows scaled to the unit range",
    reference=(
        "Jain, Nandakumar and Ross 2005, Score normalization in multimodal biometric systems, "
        "doi:10.1016/j.patcog.2005.01.012"
    ),
    family="normalized",
    english=Words(
        meaning=(
            "The mean squared difference of two rows after each is mapped linearly so that its smallest "
            "entry is 0 and its largest is 1. It lies between 0 and 1."
        ),
        strengths=(
            "Blind to the offset and the scale of both rows, and keeps the shape of their distribution.",
            "Bounded, with a fixed range that is easy to read.",
        ),
        weaknesses=(
            "The smallest and largest entries set the scale, so one outlier squeezes all others.",
            "A row whose entries are all equal gives NaN: nothing is added to the range.",
            "Not differentiable where two entries tie for smallest or largest.",
        ),
        when=(
            "Maps and scores whose range is arbitrary but has no outliers, such as saliency or depth maps."
        ),
    ),
    chinese=Words(
        title="极差归一化均方误差",
        meaning="两行各自线性映射到最小值为 0、最大值为 1 之后的均方差，取值在 0 到 1 之间。",
        strengths=("与两行的偏移和尺度无关，并保留数值分布的形状。", "有界，取值范围固定，便于解读。"),
        weaknesses=(
            "尺度由最小值和最大值决定，一个离群点就会压缩其余所有元素。",
            "整行元素相等时结果为 NaN；这里不在极差上加任何小量。",
            "最小值或最大值有并列时不可导。",
        ),
        when="范围任意但没有离群点的图或得分，例如显著性图、深度图。",
    ),
)
def min_max_mse(prediction: Prediction["D"], target: Target["D"]):
    d = index("D")
    residual = min_max(prediction)[d] - min_max(target)[d]
    return Sum(residual**2, d) / size("D")
