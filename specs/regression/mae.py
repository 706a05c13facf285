"""Absolute error."""

from sympy import Abs

from symloss.spec import Prediction, Target, Words, loss


@loss(
    title="Absolute error (MAE)",
    reference=(
        "Koenker and Bassett 1978, Regression quantiles, doi:10.2307/1913643",
        "Willmott and Matsuura 2005, Advantages of the mean absolute error, doi:10.3354/cr030079",
    ),
    family="regression",
    english=Words(
        meaning=(
            "The absolute value of the residual; its mean over the samples is the mean absolute error. "
            "Minimising it estimates the median of the target, and is the maximum-likelihood estimate "
            "under Laplace noise."
        ),
        strengths=(
            "Robust: every outlier pulls with a force of 1, however far away it is.",
            "No parameters, convex, in the unit of the target.",
        ),
        weaknesses=(
            "Not differentiable at 0, where the kernels take the subgradient 0.",
            (
                "The gradient doesn't shrink near the minimum, so a fixed step oscillates: decay the "
                "learning rate."
            ),
            "The exact second derivative is 0, so Newton steps and boosting need a surrogate.",
        ),
        when="Regression with outliers or heavy-tailed noise, or when the median is what is wanted.",
        differences={
            "sklearn": "gradient -1 where the residual is 0",
        },
    ),
    chinese=Words(
        title="绝对误差（平均绝对误差 MAE）",
        meaning=(
            "残差的绝对值，对样本取平均即平均绝对误差。它估计的是目标的中位数，对应拉普拉斯噪声下的最大似然"
            "估计。"
        ),
        strengths=("对离群点鲁棒：离群点无论多远，拉力都只有 1。", "无超参数，为凸函数，与目标同量纲。"),
        weaknesses=(
            "在 0 处不可导，这里取次梯度 0。",
            "接近最优点时梯度不减小，步长固定会来回震荡，需要让学习率衰减。",
            "二阶导数处处为 0，牛顿法和提升树需要替代的曲率。",
        ),
        when="数据含离群点或噪声重尾的回归，或者需要预测中位数时。",
        differences={
            "sklearn": "残差为 0 处梯度取 -1",
        },
    ),
    aliases={
        "torch": "torch.nn.functional.l1_loss",
        "keras": "keras.losses.MeanAbsoluteError",
        "sklearn": "sklearn._loss.AbsoluteError",
        "xgboost": "reg:absoluteerror",
        "lightgbm": "regression_l1",
        "catboost": "MAE",
    },
)
def mae(prediction: Prediction, target: Target):
    residual = prediction - target
    return Abs(residual)
