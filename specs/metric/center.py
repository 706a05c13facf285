"""Center loss."""

from symloss.spec import Label, Prediction, Sum, Words, index, loss


@loss(
    title="Center loss",
    reference=(
        "Wen, Zhang, Li and Qiao 2016, A discriminative feature learning approach for deep face "
        "recognition, doi:10.1007/978-3-319-46478-7_31"
    ),
    family="metric",
    english=Words(
        meaning=(
            "Half the squared distance of a feature vector from the center of its class. Features and "
            "centers are both differentiated, so the centers can be learned with the network."
        ),
        strengths=(
            "Makes classes compact, which softmax alone doesn't.",
            "Needs no pairs or triplets: one gather and one pass a sample.",
        ),
        weaknesses=(
            (
                "Alone it collapses: all features and centers at one point cost nothing. Use it together "
                "with a loss that separates classes."
            ),
            "Keeps one center a class, so a class with several modes is squeezed.",
        ),
        when="Together with softmax cross-entropy (see softmax_center), for recognition and verification.",
        differences={
            "pytorch-center-loss": "without the factor 1/2; clamps the distance",
        },
    ),
    chinese=Words(
        title="中心损失",
        meaning=(
            "特征向量到所属类别中心的距离平方的一半。对特征和中心都求导，因此类中心可以随网络一起学习。"
        ),
        strengths=(
            "使类内更紧凑，这是单独的 softmax 做不到的。",
            "不需要构造样本对或三元组，每个样本只需取一次中心、扫描一遍。",
        ),
        weaknesses=(
            "单独使用会塌缩：所有特征与中心重合时损失为 0，必须与能区分类别的损失联合使用。",
            "每类只有一个中心，多峰的类别会被强行压到一起。",
        ),
        when="与 softmax 交叉熵联合（见 softmax_center），用于识别与验证任务。",
        differences={
            "pytorch-center-loss": "没有系数 1/2，且截断距离",
        },
    ),
    aliases={
        "pytorch-center-loss": "center_loss.CenterLoss",
    },
)
def center(features: Prediction["D"], centers: Prediction["M", "D"], label: Label["M"]):
    d = index("D")
    offset = features[d] - centers[label, d]
    return Sum(offset**2, d) / 2
