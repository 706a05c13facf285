"""The Huber loss."""

from sympy import Abs, Piecewise

from symloss.spec import Positive, Prediction, Target, Words, loss


@loss(
    title="Huber loss",
    reference="Huber 1964, Robust estimation of a location parameter, doi:10.1214/aoms/1177703732",
    family="regression",
    english=Words(
        meaning=(
            "Half the squared error for residuals up to delta, a straight line beyond, joined with equal "
            "slope: it joins the squared error, efficient under Gaussian noise, with the absolute error, "
            "robust to outliers."
        ),
        strengths=(
            "A single outlier pulls with a force of at most delta.",
            (
                "Smooth and convex: the gradient shrinks near the minimum, as that of the absolute error "
                "doesn't."
            ),
        ),
        weaknesses=(
            "The threshold delta is one more parameter to tune.",
            "The second derivative jumps at delta, and is 0 beyond.",
        ),
        when="Regression with some outliers, when a scale for ordinary residuals is known.",
        differences={
            "sklearn": "delta follows from a quantile of the residuals",
            "lightgbm": "its Hessian is 1",
        },
    ),
    chinese=Words(
        title="Huber 损失",
        meaning=(
            "残差不超过 delta 时为平方误差的一半，超过后为直线，两段以相同斜率衔接，兼有平方误差在高斯噪声"
            "下的效率与绝对误差对离群点的鲁棒性。"
        ),
        strengths=(
            "单个离群点的拉力不超过 delta。",
            "光滑且为凸函数：与绝对误差不同，接近最优点时梯度会减小。",
        ),
        weaknesses=("阈值 delta 是一个需要调节的超参数。", "二阶导数在 delta 处跳变，之外为 0。"),
        when="数据含有少量离群点、且大致知道正常残差尺度的回归问题。",
        differences={
            "sklearn": "delta 由残差的分位数决定",
            "lightgbm": "其二阶导数取为 1",
        },
    ),
    aliases={
        "torch": "torch.nn.functional.huber_loss",
        "optax": "optax.losses.huber_loss",
        "keras": "keras.losses.Huber",
        "sklearn": "sklearn._loss.HuberLoss",
        "lightgbm": "huber",
    },
)
def huber(prediction: Prediction, target: Target, delta: Positive = 1):
    r = prediction - target
    return Piecewise((r**2 / 2, Abs(r) <= delta), (delta * (Abs(r) - delta / 2), True))
