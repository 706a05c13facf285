"""Softmax cross-entropy plus center loss."""

from symloss.losses import center, softmax_cross_entropy
from symloss.spec import Label, NonNegative, Prediction, Words, loss


@loss(
    title="Softmax cross-entropy plus center loss",
    reference=(
        "Wen, Zhang, Li and Qiao 2016, A discriminative feature learning approach for deep face "
        "recognition, doi:10.1007/978-3-319-46478-7_31"
    ),
    family="combined",
    english=Words(
        meaning=(
            "The joint supervision of Wen et al.: softmax cross-entropy separates the classes, and "
            "strength times the center loss draws each class together. Logits, features and centers are "
            "differentiated in one pass."
        ),
        strengths=(
            (
                "Features that separate classes and are compact within each: the discrimination that "
                "softmax alone lacks."
            ),
            "Trains like a classifier, without mining pairs.",
        ),
        weaknesses=(
            "strength has to be tuned: too small does nothing, too large collapses the features.",
            "Keeps a center a class, so memory grows with classes times features.",
        ),
        when="Face recognition, verification and other open-set tasks trained as classification.",
    ),
    chinese=Words(
        title="Softmax 交叉熵 + 中心损失",
        meaning=(
            "Wen 等人提出的联合监督：softmax 交叉熵把各类分开，strength 倍的中心损失让同类聚拢。对 logits、"
            "特征和类中心在一趟计算中同时求导。"
        ),
        strengths=(
            "特征既类间可分又类内紧凑，弥补了单用 softmax 时判别力的不足。",
            "训练方式与普通分类器相同，无需挖掘样本对。",
        ),
        weaknesses=(
            "strength 需要调节：太小不起作用，太大会使特征塌缩。",
            "每类保存一个中心，内存随类别数与特征维数之积增长。",
        ),
        when="以分类方式训练的人脸识别、验证等开集任务。",
    ),
)
def softmax_center(
    logits: Prediction["K"],
    features: Prediction["D"],
    centers: Prediction["K", "D"],
    label: Label["K"],
    strength: NonNegative = 0.003,
):
    return softmax_cross_entropy(logits, label) + strength * center(features, centers, label)
