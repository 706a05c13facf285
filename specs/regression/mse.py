"""Squared error."""

from symloss.spec import Prediction, Target, Words, loss


@loss(
    title="Squared error (MSE)",
    reference="Stigler 1981, Gauss and the invention of least squares, doi:10.1214/aos/1176345451",
    family="regression",
    english=Words(
        meaning=(
            "The square of the residual; its mean over the samples is the mean squared error. Minimising "
            "it estimates the mean of the target, and is the maximum-likelihood estimate when the noise is "
            "Gaussian, independent and of one variance."
        ),
        strengths=(
            "No parameters, cheap, smooth and convex.",
            "Physically meaningful: a squared residual is an energy.",
            "The maximum-likelihood (L2) estimate under independent Gaussian noise.",
        ),
        weaknesses=(
            "Weak on images and speech: a small squared error isn't the same as looking or sounding alike.",
            "A residual pulls in proportion to its size, so outliers dominate.",
        ),
        when="Regression with roughly Gaussian noise and few outliers; the default to try first.",
        differences={
            "optax": "optax.losses.l2_loss is half of it",
            "sklearn": "half of it",
            "xgboost": "half of it",
        },
    ),
    chinese=Words(
        title="平方误差（均方误差 MSE）",
        meaning=(
            "残差的平方，对样本取平均即均方误差。它估计的是目标的均值；当噪声独立同方差且服从高斯分布时，最"
            "小化它等价于最大似然估计。"
        ),
        strengths=(
            "无超参数，计算量小，光滑且为凸函数。",
            "物理意义明确：残差的平方就是能量。",
            "在独立高斯噪声下，L2 是最大似然估计。",
        ),
        weaknesses=(
            "用于图像和语音时效果不佳：平方误差小，不代表看起来或听起来相近。",
            "梯度与残差成正比，少数离群点就会主导训练。",
        ),
        when="噪声近似高斯、离群点少的回归任务，通常作为首选基线。",
        differences={
            "optax": "optax.losses.l2_loss 为其一半",
            "sklearn": "为其一半",
            "xgboost": "为其一半",
        },
    ),
    aliases={
        "torch": "torch.nn.functional.mse_loss",
        "optax": "optax.losses.squared_error",
        "keras": "keras.losses.MeanSquaredError",
        "sklearn": "sklearn._loss.HalfSquaredError",
        "xgboost": "reg:squarederror",
        "lightgbm": "regression",
    },
)
def mse(prediction: Prediction, target: Target):
    residual = prediction - target
    return residual**2
