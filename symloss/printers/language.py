"""The two languages of the documentation: the words of its pages, and how they say what the engine says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from symloss.printers.chinese import chinese
from symloss.printers.prose import FAMILIES
from symloss.roles import Loss, Words


@dataclass(frozen=True)
class Language:
    """One language of the documentation.

    Args:
        code: `en` or `zh`, the folder of its pages.
        say: the words of the pages, by key; both languages have the same keys.
        formula_words: what stands for the English words within formulas.
        translate: the engine's names and reasons in this language.
    """

    code: str
    say: Mapping[str, str]
    formula_words: Mapping[str, str]
    translate: Callable[[str], str]

    def words(self, loss: Loss) -> Words:
        """What the spec says in this language; in English where it says nothing."""
        own = loss.english if self.code == "en" else loss.chinese
        return own if own.meaning else loss.english

    def title(self, loss: Loss) -> str:
        """The loss's name."""
        return (self.code == "zh" and loss.chinese.title) or loss.title

    def family(self, name: str) -> str:
        """A family as a heading."""
        return FAMILIES.get(name, name) if self.code == "zh" else name.capitalize()


_SAY: dict[str, tuple[str, str]] = {
    # headings of a loss's page
    "formula": ("Formula", "公式"),
    "computed": ("As it is computed", "实际计算形式"),
    "where": ("where", "其中"),
    "plot": ("Plot", "图像"),
    "gradient": ("Gradient", "梯度"),
    "hessian": ("Hessian diagonal", "黑塞矩阵对角线"),
    "product": ("Hessian-vector product", "黑塞向量积"),
    "functions": ("Functions", "函数"),
    "functions_lead": (
        "The formulas are written in functions that have a stable implementation. By definition:",
        "以上公式用到的函数都有数值稳定的实现，定义如下：",
    ),
    "properties": ("Properties", "性质"),
    "kinks": ("Kinks", "不可导点"),
    "edges": ("At the edges", "边界行为"),
    "accuracy": ("Accuracy", "精度"),
    "usage": ("Usage", "用法"),
    "when_to_use": ("When to use it", "适用场景"),
    "elsewhere": ("In other libraries", "其他库中的名称"),
    "derivation": ("Derivation", "推导过程"),
    "source": ("Generated source", "生成的源代码"),
    "references": ("References", "参考文献"),
    "cite": ("Cite as BibTeX", "BibTeX 引用"),
    "spec": ("Spec", "规格源码"),
    # tables
    "symbol": ("symbol", "符号"),
    "argument": ("argument", "参数名"),
    "role": ("role", "角色"),
    "shape": ("shape", "形状"),
    "domain": ("domain", "取值范围"),
    "parameter": ("parameter", "超参数"),
    "default": ("default", "默认值"),
    "property": ("property", "性质"),
    "verdict": ("verdict", "结论"),
    "why": ("why", "依据"),
    "peer": ("library", "库"),
    "name": ("name", "名称"),
    "difference": ("difference", "差别"),
    "loss": ("loss", "损失函数"),
    "value": ("loss", "损失值"),
    "signature": ("signature", "签名"),
    "output": ("output", "输出"),
    "precision": ("precision", "精度类型"),
    "worst": ("worst error in ulp", "最大误差（ulp）"),
    "bound": ("bound in ulp", "上限（ulp）"),
    "results": ("results", "结果数"),
    "missed": ("beyond the bound", "超限个数"),
    "family": ("Family", "类别"),
    "curvature": ("curvature", "曲率"),
    # sentences
    "counted": (
        "Formulas count from 1, arrays from 0.",
        "公式中的下标从 1 开始，数组下标从 0 开始。",
    ),
    "limit": ("the formula degenerates, and its limit holds:", "公式退化，取其极限："),
    "at": ("At", "当"),
    "wrt": ("With respect to", "对以下输入求导："),
    "for": ("For", "对应输入："),
    "strengths": ("Strengths", "优点"),
    "weaknesses": ("Weaknesses", "缺点"),
    "when": ("When to use it.", "适用："),
    "proved": ("proved", "已证明"),
    "refuted": ("refuted", "已否证"),
    "unknown": ("unknown", "未知"),
    "refuted_at": ("Point: {}.", "反例：{}。"),
    "properties_lead": (
        "As a function of the predictions, for every target and every value of the parameters. Derived from "
        "the formula: proved, refuted with a point, or unknown.",
        "将损失视为预测值的函数，对任意目标与任意超参数取值而言。全部由公式推导：或得证，或给出反例，或未知。",
    ),
    "no_kinks": ("None: the gradient exists everywhere.", "无：处处可导。"),
    "edges_lead": (
        "What the kernels give where one entry of {} goes to an end of its domain.",
        "当 {} 的一个分量趋于取值范围的端点时，内核给出的结果。",
    ),
    "accuracy_lead": (
        "Held against the formula itself, evaluated to as many digits as it takes, at points drawn over the "
        "floats and at the extremes. Where a problem is ill conditioned, the mixed error counts.",
        "与公式本身的高精度求值结果对照，测试点遍布浮点数范围并包含极端值；病态处按混合误差计。",
    ),
    "not_measured": (
        "Not measured yet: `symloss verify` does it.",
        "尚未测量，可运行 `symloss verify`。",
    ),
    "accuracy_link": ("How other libraries fare", "其他库的表现如何"),
    "derivation_lead": (
        "Every step that was taken, with the rule's name and its reason.",
        "推导的每一步，附规则名称与理由。",
    ),
    "becomes": ("becomes", "化为"),
    "cpu_source": ("CPU kernels (Numba)", "CPU 内核（Numba）"),
    "cuda_source": ("CUDA kernels (Numba)", "CUDA 内核（Numba）"),
    "steps": ("steps", "步"),
    "more_formulas": ("Hessian-vector product and functions", "黑塞向量积与所用函数"),
    # properties, by their keys in `traits.NAMES`
    "trait_convex": ("Convex", "凸"),
    "trait_strictly_convex": ("Strictly convex", "严格凸"),
    "trait_strongly_convex": ("Strongly convex", "强凸"),
    "trait_smooth": ("Smoothness", "光滑性"),
    "trait_symmetric": ("Symmetric in prediction and target", "对预测与目标对称"),
    "trait_translation_invariant": ("Translation invariant", "平移不变"),
    "trait_permutation_invariant": ("Permutation invariant", "置换不变"),
    "trait_lipschitz": ("Lipschitz continuous", "利普希茨连续"),
    "trait_lipschitz_gradient": ("Lipschitz continuous gradient", "梯度利普希茨连续"),
    "trait_bounded_below": ("Bounded below", "有下界"),
    "trait_bounded_above": ("Bounded above", "有上界"),
    "trait_nonnegative": ("Never negative", "非负"),
    "trait_minimum_at_target": ("Minimal at the target", "在目标处取最小值"),
    "trait_robust": ("Robust: bounded influence", "鲁棒：影响有界"),
    "trait_redescending": ("Redescending: influence fades far out", "再降：远处影响趋于 0"),
    # the plot
    "plot_lead": (
        "One entry of {} moves, everything else can be set.",
        "横轴为 {} 的一个分量，其余各量均可调节。",
    ),
    "reset": ("Reset", "复位"),
    "plot_alt": ("Plot of loss, gradient and curvature of {}", "{}的损失、梯度与曲率曲线"),
    "no_script": ("The plot needs JavaScript.", "图像需要启用 JavaScript。"),
    # the gallery
    "gallery": ("Losses", "损失函数"),
    "all_losses": ("All losses", "全部损失函数"),
    "search_gallery": ("Filter by name", "按名称筛选"),
    "all": ("all", "全部"),
    "none_shown": ("No loss has all of these.", "没有同时满足这些条件的损失函数。"),
    "convex": ("convex", "凸"),
    "smooth": ("smooth", "光滑"),
    "robust": ("robust", "鲁棒"),
    "bounded_gradient": ("bounded gradient", "梯度有界"),
    "probabilities": ("needs probabilities", "输入为概率"),
    "logits": ("needs logits", "输入为 logits"),
    "labels": ("needs labels", "需要标签"),
    "has_parameters": ("has parameters", "有超参数"),
    "card_alt": ("Curves of loss and gradient of {}", "{}的损失与梯度曲线"),
    "count_lead": (
        "{} losses, each with its formula, its derivatives and the steps to them.",
        "共 {} 个损失函数，每个都有公式、导数与推导过程。",
    ),
    # comparison and accuracy tables
    "yes": ("yes", "是"),
    "no": ("no", "否"),
    "ours": ("ours", "本项目"),
    "call": ("call", "调用方式"),
    "lowest": ("lowest", "最低"),
    "median": ("median", "中位"),
    "worst_point": ("worst at", "最差点"),
    "got": ("got", "所得"),
    "exact": ("exact", "精确值"),
    "ordinary": ("ordinary", "普通"),
    "confident": ("confident", "高置信"),
    "extreme": ("extreme", "极端"),
    "versions": ("Versions", "版本"),
    "residual_losses": ("Losses of a residual side by side", "残差类损失对比"),
    "residual_gradients": ("Their gradients", "它们的梯度"),
}  # fmt: skip

ENGLISH = Language("en", {key: english for key, (english, _) in _SAY.items()}, {}, lambda text: text)
CHINESE = Language(
    "zh",
    {key: other for key, (_, other) in _SAY.items()},
    {"if": "若", "otherwise": "其他", "and": "且", "NaN": "NaN"},
    chinese,
)
LANGUAGES = (ENGLISH, CHINESE)
