"""What the engine says on a loss's page, in Chinese: rules and their reasons, steps, kinks, outputs, roles.

The engine speaks English and doesn't know of this table; the words of a spec have their own Chinese. A text
that holds a name or a formula is found by its pattern.
"""

from __future__ import annotations

from string import Formatter

from symloss.printers.prose import FAMILIES

#: Texts of the engine and their Chinese. A name that is a formula or a function stays as it is.
TEXTS: dict[str, str] = {
    # Stages, and what differentiation and lifting say.
    "lift": "提升",
    "differentiate": "求导",
    "stabilise": "稳定化",
    "chain rule": "链式法则",
    "through the atoms, each delta contracted against its sum": (
        "逐层穿过各原子函数求导，每个克罗内克 delta 与所在的求和缩并"
    ),
    "the formula degenerates there": "公式在该处退化",
    "a case is a branch, not a factor: 0 times infinity is NaN": (
        "不同情形写成分支，而不是乘以 0 或 1 的因子：0 乘无穷大是 NaN"
    ),
    # Outputs and roles.
    "value": "损失值",
    "prediction": "预测",
    "target": "目标",
    "label": "标签",
    # Kinks.
    "the gradient of |x| at 0 is taken as 0": "|x| 在 0 处的梯度取 0",
    "the gradient of the norm of the zero vector is taken as 0": "范数在零向量处的梯度取 0",
    "entries that tie for the extreme share the gradient equally": "并列取到最值的各元素平分梯度",
    # Lifting: names of rules.
    "sign of a sum": "和的负号",
    "sigmoid": "sigmoid",
    "sigmoid of a quotient": "商形式的 sigmoid",
    "sigmoid in a power": "sigmoid 的幂",
    "softmax": "softmax",
    "softmax with weights": "带权重的 softmax",
    "power of a share": "占比的幂",
    "sigmoid of tanh": "由 tanh 化为 sigmoid",
    "complement of tanh": "1 - tanh 化为 sigmoid",
    "cancels where tanh is near 1": "tanh 接近 1 时两项相消",
    "exp of expm1": "expm1 加回 1",
    "adding the 1 again loses what was left out, and log(1 + expm1(x)) is x": (
        "加回 1 会丢掉当初保住的数位，而 log(1 + expm1(x)) 就是 x"
    ),
    "x over expm1": "x 除以 expm1",
    "0 times infinity at 0, infinity times 0 far out; the quotient has both limits": (
        "在 0 处是 0 乘无穷，远处是无穷乘 0；商在两处都有极限"
    ),
    "softplus less x": "softplus 减 x",
    "for large x the two agree, and their difference is e^-x": "x 很大时两者几乎相等，差为 e^-x",
    "log cosh of softplus": "由 softplus 化为 log cosh",
    "log cosh of two softplus": "两个 softplus 化为 log cosh",
    "less its value at 0, it cancels there to second order": "减去它在 0 处的值时，在 0 附近相消到二阶",
    "numbers of a sum": "和中的常数",
    "log 4 and 2 log 2 are rounded, and don't cancel": "log 4 与 2 log 2 各自舍入后不再相消",
    "complement of a power": "幂的补",
    "1 - (1 - x)^n loses every digit of a small x": "x 很小时，1 - (1 - x)^n 会丢掉它的全部数位",
    "difference of sigmoids": "两个 sigmoid 之差",
    "sigmoid(x) and 1 - sigmoid(x) agree at 0, where tanh(x/2) keeps every digit": (
        "sigmoid(x) 与 1 - sigmoid(x) 在 0 处相等，而 tanh(x/2) 在该处保住全部数位"
    ),
    "erfc": "erfc",
    "1 - exp(x)": "1 - exp(x)",
    "complement": "补概率",
    "softplus": "softplus",
    "log sigmoid": "log sigmoid",
    "log sum exp": "log sum exp",
    "log softmax": "log softmax",
    "cosh": "cosh",
    "sinh": "sinh",
    "tanh": "tanh",
    "log of a function": "函数的对数",
    "log of two exponentials": "两个指数之和的对数",
    "log1mexp": "log1mexp",
    "log of a reciprocal": "倒数的对数",
    "log of a quotient": "商的对数",
    "gap": "熵差",
    "1 + x^2": "1 + x^2",
    "x - log1p(x)": "x - log1p(x)",
    "log1p": "log1p",
    "exp(x) - 1 - x": "exp(x) - 1 - x",
    "expm1": "expm1",
    "tilt": "tilt",
    "Box-Cox": "Box-Cox 变换",
    "norm": "范数",
    "unit vector": "单位向量",
    "projection": "投影",
    "powers": "合并幂",
    "0 log 0": "0 log 0",
    "zero over": "分子为零的商",
    # Lifting: reasons.
    "-(a + b) is -a - b, exactly, and lets terms meet": (
        "-(a + b) 与 -a - b 完全相等，展开后各项才能互相合并"
    ),
    "exp overflows for x below -709": "x 小于 -709 时 exp 上溢",
    "exp(x)/(1 + exp(x)) is infinity over infinity": "exp(x)/(1 + exp(x)) 会成为无穷大除以无穷大",
    "the power overflows even earlier than the exponential in it": "它的幂比其中的 exp 更早上溢",
    "a share rounds to 0 below -745, where a power of it is far from 0": (
        "指数低于 -745 时占比舍入为 0，而它的幂可能离 0 还很远"
    ),
    "exp overflows above 709; shifted by the maximum it can't": (
        "自变量超过 709 时 exp 上溢；先减去最大值就不会上溢"
    ),
    "the weights' logarithms are a part of the logits, and exp of their sum can't overflow": (
        "权重的对数并入 logits，对两者之和取 exp 不会上溢"
    ),
    "cancels where tanh is near -1": "tanh 接近 -1 时两项相消",
    "1 - erf(x) and 2 - erfc(x) lose every digit where they are small": (
        "1 - erf(x) 和 2 - erfc(x) 的值很小时会丢失全部有效数字"
    ),
    "exp(x) rounds to 1 for small x": "x 很小时 exp(x) 舍入为 1",
    "1 - p loses every digit where p is near 1; as a function of its own it has all": (
        "p 接近 1 时，1 - p 会丢失全部有效数字；作为单独的函数计算则一位不丢"
    ),
    "exp overflows for x above 709, and 1 + exp(x) rounds to 1 below -37": (
        "x 大于 709 时 exp 上溢，小于 -37 时 1 + exp(x) 舍入为 1"
    ),
    "sigmoid underflows to 0 below -745, its logarithm doesn't": (
        "自变量小于 -745 时 sigmoid 下溢为 0，而它的对数不会"
    ),
    "the logarithm of a share that rounds to 0 or 1 is -infinity or 0": (
        "占比一旦舍入为 0 或 1，取对数就得到负无穷大或 0"
    ),
    "one function for two": "两个函数合为一个",
    "the two cancel near 0": "两项在 0 附近相消",
    "infinity over infinity above 710": "自变量超过 710 时成为无穷大除以无穷大",
    "the function overflows or vanishes where its logarithm doesn't": (
        "函数本身会上溢或下溢为 0，而它的对数不会"
    ),
    "exp overflows above 709": "自变量超过 709 时 exp 上溢",
    "1 - exp(x) cancels near 0 and rounds to 1 far from it": ("1 - exp(x) 在 0 附近相消，远离 0 时舍入为 1"),
    "1/x overflows for subnormal x": "x 为次正规数时 1/x 上溢",
    "a/b near 1 has lost the digits that the logarithm needs": "a/b 接近 1 时，对数所需的有效数字已经丢失",
    "x log(x/y), x and y agree to second order where x is near y": (
        "x 接近 y 时，x log(x/y)、x 与 y 三项要到二阶才显出差别"
    ),
    "x^2 overflows above 1e154": "x 超过 1e154 时 x^2 上溢",
    "the two agree to second order at 0": "两项在 0 附近要到二阶才显出差别",
    "1 + x rounds away the digits of a small x": "x 很小时，1 + x 会舍掉 x 的有效数字",
    "the three agree to second order at 0": "三项在 0 附近要到二阶才显出差别",
    "both sides overflow above 1e154": "超过 1e154 时分子、分母都会上溢",
    "(X^a - 1)/a cancels for small a, and is 0/0 at its limit": (
        "a 很小时 (X^a - 1)/a 的分子相消，在极限处则是 0/0"
    ),
    "squares overflow above 1e154 and vanish below 1e-162": (
        "绝对值超过 1e154 时平方上溢，小于 1e-162 时平方下溢为 0"
    ),
    "a quotient of two small or two large numbers; 0 for the zero row": (
        "两个很小或很大的数相除；零向量取 0"
    ),
    "the sum's products overflow where the unit vector's don't": (
        "求和中的乘积会上溢，换成单位向量之后则不会"
    ),
    "b times b^(g - 1) is 0 times infinity where b is 0 and g below 1; b^g is finite": (
        "b 为 0 且 g 小于 1 时，b 乘 b^(g - 1) 是 0 乘无穷大；b^g 则是有限的"
    ),
    "0 times infinity is NaN, and its limit here is 0": "0 乘无穷大是 NaN，而此处的极限是 0",
    "the derivative of 0 log 0 is 0, not 0/0": "0 log 0 的导数是 0，而不是 0/0",
    # Stabilising, and guards.
    "T - T p loses every digit where p is near 1; T (1 - p) has all": (
        "p 接近 1 时，T - T p 会丢失全部有效数字；T (1 - p) 则一位不丢"
    ),
    "log p over 1 - p": "log p 除以 1 - p",
    "0 times infinity where p is 1; the quotient's limit is -1": "p 为 1 时是 0 乘无穷大；商的极限是 -1",
    "share of a total": "总量的占比",
    "a share near 1 times the total cancels against the entry": (
        "占比接近 1 时，它与总量的乘积会和该元素相消"
    ),
    "centred": "中心化",
    "an entry less the mean of all cancels where one share is near 1": (
        "某个占比接近 1 时，元素与总体均值之差会相消"
    ),
    "common factor": "公因子",
    "what all terms of a sum share belongs before the bracket": "求和各项共有的因子提到括号外",
    "root over itself": "根式除以自身",
    "the derivative of sqrt(p) - sqrt(q) is 0/0 where both are 0; as a sum its terms have limits": (
        "p、q 同为 0 时，sqrt(p) - sqrt(q) 的导数是 0/0；拆成和以后各项都有极限"
    ),
    "exponentials in cases": "分支中的指数",
    "a row with a margin at its label is a row of logits like others": (
        "在标签处带间隔的一行，仍是普通的一行 logits"
    ),
    "complement of a cosine": "余弦的补",
    "1 - cos loses every digit where vectors are parallel; the distance of unit vectors has them": (
        "两向量平行时 1 - cos 会丢失全部有效数字；单位向量之间的距离则能保留"
    ),
    "own direction": "自身方向",
    "what is projected away needn't be computed": "会被投影消去的部分不必计算",
    "constant part": "常数部分",
    "terms that add up to a constant only leave rounding errors": "相加为常数的各项只会留下舍入误差",
    "one fraction": "通分",
    "fractions that nearly cancel; over one denominator nothing does": (
        "几个分式几乎相消；通分之后不再有相消"
    ),
    "0 times a power": "0 与幂的乘积",
    "share in a case": "分支中的占比",
    "p - 1 loses every digit where p is near 1; in its own case it is the complement": (
        "p 接近 1 时 p - 1 会丢失全部有效数字；放在单独的分支里就是补概率的相反数"
    ),
    # Properties: why they hold or don't.
    "Neither a proof nor a counterexample was found.": "既未找到证明，也未找到反例。",
    "The second derivative is never negative, and the slope never falls where two pieces meet.": (
        "二阶导数处处非负，且各段衔接处斜率不减小。"
    ),
    "It is composed of convex functions by rules that keep convexity.": "由凸函数按保凸规则复合而成。",
    "The second derivative is negative at this point.": "在该点二阶导数为负。",
    "In the middle of this segment the loss lies above the mean of its ends.": (
        "在该线段中点，损失高于两端的平均值。"
    ),
    "It isn't even convex.": "它连凸函数都不是。",
    "The slope rises everywhere.": "斜率处处递增。",
    "On this segment the loss is straight.": "在该线段上损失为线性。",
    "The second derivative never falls below the constant.": "二阶导数不低于该常数。",
    "The second derivative is 0 at this point.": "在该点二阶导数为 0。",
    "The second derivative comes near 0.": "二阶导数可任意接近 0。",
    "All derivatives exist.": "各阶导数均存在。",
    "The derivatives agree where pieces meet, up to this order.": "各段衔接处的导数直到该阶都一致。",
    "At this point the slope jumps.": "在该点斜率跳变。",
    "At this point the loss jumps.": "在该点损失跳变。",
    "At this point the loss has no value.": "在该点损失无定义。",
    "The formula stays the same.": "公式保持不变。",
    "At this point the value changes.": "在该点取值改变。",
    "Indices only say which entry is meant.": "下标只用来指明元素。",
    "The gradient is bounded.": "梯度有界。",
    "The gradient grows beyond all bounds.": "梯度无界。",
    "The second derivatives are bounded.": "二阶导数有界。",
    "The second derivative grows beyond all bounds.": "二阶导数无界。",
    "The values at all minima and limits are bounded from below.": "所有极小值与极限值都有下界。",
    "No part of the formula can be negative.": "公式的各部分都不会为负。",
    "The values at all maxima and limits are bounded from above.": "所有极大值与极限值都有上界。",
    "Every part of the formula is bounded.": "公式的各部分都有界。",
    "The loss falls below all bounds.": "损失可低于任意下界。",
    "The loss grows beyond all bounds.": "损失可超过任意上界。",
    "At this point the loss is negative.": "在该点损失为负。",
    "At this point the loss is negative; the entries of a row need not sum to 1.": (
        "在该点损失为负；此处不要求一行的元素之和为 1。"
    ),
    "Where prediction and target are equal, the loss has its least value.": "预测等于目标时，损失取最小值。",
    "It is convex, and its slope changes sign where prediction and target are equal.": (
        "它是凸函数，且斜率在预测等于目标处变号。"
    ),
    "At this point the loss is lower than where the prediction equals the target.": (
        "在该点损失比预测等于目标时更低。"
    ),
    (
        "At this point the loss is lower than where the prediction equals the target; "
        "the entries of a row need not sum to 1."
    ): ("在该点损失比预测等于目标时更低；此处不要求一行的元素之和为 1。"),
    "The gradient has a finite limit as the residual grows.": "残差增大时，梯度趋于有限值。",
    "The gradient grows with the residual.": "梯度随残差增大。",
    "The gradient goes to 0 as the residual grows.": "残差增大时，梯度趋于 0。",
    "The gradient doesn't go to 0 as the residual grows.": "残差增大时，梯度不趋于 0。",
}

#: What a point that refutes a property names beside inputs and parameters.
QUANTITIES: dict[str, str] = {
    "along": "沿",
    "residual": "残差",
    "gradient": "梯度",
    "second derivative": "二阶导数",
    "value": "损失值",
    "value after the change": "改变后的损失值",
    "value in the middle": "中点的损失值",
    "mean of the values at the ends": "两端损失值的平均",
    "first": "点一",
    "second": "点二",
}

#: Texts that hold something of the loss: `{name}` stands for an identifier, `{formula}` for anything.
PATTERNS: tuple[tuple[str, str], ...] = (
    ("limit at {name} = {formula}", "{name} = {formula} 处的极限"),
    ("cases of {name}", "按 {name} 分情形"),
    ("grad {name}", "对 {name} 的梯度"),
    ("hess {name}", "对 {name} 的黑塞矩阵对角线"),
    ("hvp {name}", "黑塞向量积中 {name} 的部分"),
    ("the branch for {formula} is taken", "取 {formula} 的分支"),
)


def chinese(text: str) -> str:
    """The Chinese of a sentence or a name of the engine; names and formulas in it stay as they are.

    Args:
        text: the name or reason of a rule, the stage, rule or output of a step, the rule of a kink, a role,
            or a family, in English.

    Raises:
        KeyError: when there is none.
    """
    for table in (TEXTS, FAMILIES, QUANTITIES):
        if text in table:
            return table[text]
    for english, words in PATTERNS:
        found = _fields(english, text)
        if found is not None:
            return words.format(**found)
    raise KeyError(text)


def _fields(pattern: str, text: str) -> dict[str, str] | None:
    """What the fields of a pattern stand for in a text; None where it isn't of that pattern."""
    pieces = [(literal, field) for literal, field, _, _ in Formatter().parse(pattern)]
    followers = [literal for literal, _ in pieces[1:]] + [""]
    found: dict[str, str] = {}
    for (literal, field), follower in zip(pieces, followers, strict=True):
        if not text.startswith(literal):
            return None
        text = text[len(literal) :]
        if field is None:
            continue
        end = text.find(follower) if follower else len(text)
        if end <= 0 or (field == "name" and not text[:end].isidentifier()):
            return None
        found[field], text = text[:end], text[end:]
    return found if not text else None
