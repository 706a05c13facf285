"""Feature reconstruction loss."""

from symloss.spec import Prediction, Sum, Target, Words, index, loss, size


@loss(
    title="Feature reconstruction loss",
    reference=(
        "Johnson, Alahi and Fei-Fei 2016, Perceptual losses for real-time style transfer and "
        "super-resolution, arXiv:1603.08155"
    ),
    family="perceptual",
    english=Words(
        meaning=(
            "The mean squared difference between the features that one layer of a fixed CNN gives for an "
            "output and for its target: the content part of a perceptual loss."
        ),
        strengths=(
            (
                "Compares the features of a CNN, not pixels, so a shift of a pixel or a change of texture "
                "that nobody sees costs little."
            ),
            "Converges quickly for style transfer and super-resolution.",
            "A deep layer keeps content and arrangement and lets color and texture go.",
        ),
        weaknesses=(
            "Depends on the network and the layer; values of different layers don't compare.",
            "A deep layer alone leaves artifacts that it can't see.",
            "Each step costs a pass through the network.",
        ),
        when=(
            "Style transfer, super-resolution and other image synthesis, usually with gram_style (see "
            "perceptual)."
        ),
    ),
    chinese=Words(
        title="特征重建损失（内容损失）",
        meaning="输出图像与目标图像在固定 CNN 某一层上的特征之差的均方值，是感知损失中的内容项。",
        strengths=(
            "比较的是 CNN 特征而不是像素，肉眼难以察觉的平移和纹理变化代价很小。",
            "用于风格迁移和超分辨率时收敛快。",
            "取较深的层可以保留内容与布局，而不约束颜色和纹理。",
        ),
        weaknesses=(
            "依赖所选的网络与层，不同层的数值不可比较。",
            "只用深层特征时，网络感知不到的伪影会残留。",
            "每一步都要前向和反向通过网络。",
        ),
        when="风格迁移、超分辨率等图像生成任务，通常与 gram_style 一起使用（见 perceptual）。",
    ),
    aliases={
        "torch": "torch.nn.functional.mse_loss(features, target_features)",
        "piq": "piq.ContentLoss",
    },
)
def feature_reconstruction(features: Prediction["C", "H", "W"], target_features: Target["C", "H", "W"]):
    c, h, w = index("C"), index("H"), index("W")
    residual = features[c, h, w] - target_features[c, h, w]
    return Sum(residual**2, c, h, w) / (size("C") * size("H") * size("W"))
