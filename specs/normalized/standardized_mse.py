"""Mean squared error of standardised rows."""

from symloss.normalize import standardize
from symloss.spec import Prediction, Sum, Target, Words, index, loss, size


@loss(
    title="Mean squared error of standardised rows",
    reference="Ba, Kiros and Hinton 2016, Layer normalization, arXiv:1607.06450",
    family="normalized",
    english=Words(
        meaning=(
            "The mean squared difference of two rows after each is given mean 0 and variance 1 (the "
            "population variance). It equals 2 (1 - r), where r is Pearson's correlation of the rows, and "
            "lies between 0 and 4."
        ),
        strengths=(
            "Blind to the offset and the scale of prediction and target: only the shape counts.",
            "Bounded, and differentiated through the normalisation.",
        ),
        weaknesses=(
            (
                "A row whose entries are all equal has variance 0 and gives NaN; nothing is added to the "
                "variance."
            ),
            "Says nothing of offset and scale: add another term where they matter.",
        ),
        when="Profiles, signals and feature maps whose units or gain are arbitrary.",
        differences={
            "scipy": "half of it",
        },
    ),
    chinese=Words(
        title="标准化均方误差",
        meaning=(
            "两行各自标准化为均值 0、方差 1（总体方差）之后的均方差。它等于 2 (1 - r)，r 为两行的皮尔逊相关"
            "系数，取值在 0 到 4 之间。"
        ),
        strengths=("与预测和目标的偏移、尺度无关，只比较形状。", "有界，且梯度穿过归一化计算。"),
        weaknesses=(
            "整行元素相等时方差为 0，结果为 NaN；这里不在方差上加任何小量。",
            "不约束偏移和尺度，若有要求需另加一项。",
        ),
        when="量纲或增益任意的曲线、信号和特征图之间的比较。",
        differences={
            "scipy": "为其一半",
        },
    ),
    aliases={
        "scipy": "scipy.spatial.distance.correlation",
    },
)
def standardized_mse(prediction: Prediction["D"], target: Target["D"]):
    d = index("D")
    residual = standardize(prediction)[d] - standardize(target)[d]
    return Sum(residual**2, d) / size("D")
