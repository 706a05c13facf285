"""Smooth L1 loss."""

from sympy import Abs, Piecewise

from symloss.losses import mae
from symloss.spec import NonNegative, Prediction, Target, Words, loss


@loss(
    title="Smooth L1 loss",
    reference="Girshick 2015, Fast R-CNN, arXiv:1504.08083",
    family="regression",
    english=Words(
        meaning=(
            "Quadratic for residuals under beta, absolute error beyond, joined with equal slope. It comes "
            "from the box regression of Fast R-CNN. It is the Huber loss with delta = beta, divided by "
            "beta, so its slope never exceeds 1; at beta = 0 it is the absolute error."
        ),
        strengths=(
            "The slope is at most 1, which prevents exploding gradients from boxes that are far off.",
            "Smooth at 0, so the gradient shrinks near the minimum.",
        ),
        weaknesses=(
            "beta has to suit the scale of the residuals.",
            "The second derivative jumps at beta, and is 0 beyond.",
        ),
        when="Regression of bounding boxes and other coordinates with some wild samples.",
    ),
    chinese=Words(
        title="平滑 L1 损失",
        meaning=(
            "残差小于 beta 时为二次函数，超过后为绝对误差，两段以相同斜率衔接。出自 Fast R-CNN 的边框回归。"
            "它等于 delta = beta 的 Huber 损失除以 beta，因此斜率不超过 1；beta = 0 时即绝对误差。"
        ),
        strengths=(
            "斜率不超过 1，边框偏差很大时也不会梯度爆炸。",
            "在 0 附近光滑，接近最优点时梯度随之减小。",
        ),
        weaknesses=("beta 需要与残差的尺度匹配。", "二阶导数在 beta 处跳变，之外为 0。"),
        when="边框等坐标回归，且存在少量偏差很大的样本。",
    ),
    aliases={
        "torch": "torch.nn.functional.smooth_l1_loss",
    },
    limits={"beta": {0: mae}},
)
def smooth_l1(prediction: Prediction, target: Target, beta: NonNegative = 1):
    r = prediction - target
    return Piecewise((r**2 / (2 * beta), Abs(r) < beta), (Abs(r) - beta / 2, True))
