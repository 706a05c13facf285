"""Perceptual loss."""

from symloss.losses import feature_reconstruction, gram_style
from symloss.spec import NonNegative, Prediction, Target, Words, loss


@loss(
    title="Perceptual loss",
    reference=(
        "Johnson, Alahi and Fei-Fei 2016, Perceptual losses for real-time style transfer and "
        "super-resolution, arXiv:1603.08155"
    ),
    family="combined",
    english=Words(
        meaning=(
            "A weighted sum of the feature reconstruction loss, against the features of the content image, "
            "and the Gram matrix style loss, against those of the style image, derived and computed as one "
            "loss."
        ),
        strengths=(
            "Compares CNN features, and converges quickly for style transfer and super-resolution.",
            "One kernel gives the gradient of both parts in one pass over the features.",
        ),
        weaknesses=(
            "The two weights set the look, and depend on the network and the layer.",
            "Both parts use one layer here; for several layers add up several calls.",
            "Content and style features must have the same shape.",
        ),
        when=(
            "Style transfer and image synthesis with content and style taken from one layer; "
            "super-resolution with one target given twice."
        ),
    ),
    chinese=Words(
        title="感知损失",
        meaning=(
            "特征重建损失（相对内容图的特征）与 Gram 矩阵风格损失（相对风格图的特征）的加权和，作为一个损失"
            "整体求导和计算。"
        ),
        strengths=(
            "比较的是 CNN 特征，用于风格迁移和超分辨率时收敛快。",
            "一个内核扫描特征即可得到两项的总梯度。",
        ),
        weaknesses=(
            "两个权重决定最终效果，且依赖所选的网络与层。",
            "这里两项取自同一层；要用多层时，把多次调用的结果相加。",
            "内容特征与风格特征的形状必须相同。",
        ),
        when="内容与风格取自同一层的风格迁移和图像生成；超分辨率时把同一目标同时作为内容和风格。",
    ),
    aliases={
        "piq": "piq.ContentLoss plus piq.StyleLoss",
    },
)
def perceptual(
    features: Prediction["C", "H", "W"],
    content_features: Target["C", "H", "W"],
    style_features: Target["C", "H", "W"],
    content_weight: NonNegative = 1,
    style_weight: NonNegative = 1,
):
    content = feature_reconstruction(features, content_features)
    style = gram_style(features, style_features)
    return content_weight * content + style_weight * style
