"""The site's own words on the pages that are made of lessons, in English and Chinese."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """What the site writes on a page that is made of lessons."""

    language: str
    further: str  # over a section that is folded
    solution: str
    how_to_read: str  # under the title of a lesson
    hide: str  # the button in that line
    older: str
    numbers: str
    minutes: str
    lessons: str  # the page of all lessons
    verdicts: str  # the page of all verdicts, up to the first one
    the_lesson: str
    breaks: str
    path: str  # in that page: one way through the lessons
    stop: str
    stops: tuple[str, ...]
    report: str  # what its picture shows
    relied_on: str  # in the head of the table at its end, and what stands over that table
    rewritten: str
    glossary: str
    lesson: str


ENGLISH = Words(
    language="en",
    further="Go further: this section may be skipped",
    solution="A solution",
    how_to_read=(
        "Read this page, or run it: <code>make lab</code> opens the lesson as a notebook. "
        "A solution lies folded below each exercise."
    ),
    hide="Hide the code",
    older=(
        "This page was made from an older text of the lesson: its pictures and numbers may differ "
        "from those of the notebook that you run."
    ),
    numbers="The numbers",
    minutes="{} min",
    lessons="""# Lessons

Take them in order, and **predict before you look**: each lesson asks you to, and answers a little
later. A lesson ends with exercises that have checks, a verdict, and a quiz whose answers lie
folded.

| lesson | the question | reading | to go further | exercises |
|---|---|---|---|---|
{table}

Each lesson can be read here as it stands. To run and change it, open it with `make lab` (see
[the start page](/index.md)). A word with a dotted line under it is explained in the
[glossary](/glossary.md).
""",
    verdicts="""# What may one rely on?

For whoever has to decide what an explanation may be relied on for, and does not program. In this
course a claim about an explanation is a number that could have come out otherwise. Below are the
verdicts of all lessons, each with its numbers folded. They hold for the networks and pictures of
the lesson; how far they carry is said there. The table below a verdict says of each sentence what
it was held against: the strongest *null*, which knows nothing of the network or of the question,
and a *second reading* of the same measurements.

**Words.** The *answer key*: what each part of a beetle is worth to the network, measured.
*Agreement* with the key: 1 is the same order of the parts, 0 none. A *null*: a map that knows
nothing of the network. The *field guide*: a null that knows what each species looks like. *Skill*:
0 for the best null, 1 for the key. A *seed*: one training; another seed gives another network. A
*reading*: one reasonable way to compare a map with the key. *Open*: not shown, since the interval
of a difference contains 0. A *label*: a small paper card beside the beetle; a network that goes by
it takes a *shortcut*. The *article*: the text that this course tests. Other words: the
[glossary](/glossary.md).

{path}**Three questions** to ask of any explanation that is put before you:

1. *Compared with what?* An explanation without its baseline named is half a sentence
   (lesson {compared}).
2. *What does a map score that knows nothing of the network?* A good score is worth what it has
   above that (lesson {scored}).
3. *What happened when somebody took the thing away?* That is a measurement; a map is an estimate
   (lesson {taken}).
""",
    the_lesson="The lesson",
    breaks="where it breaks",
    path="""**One path, {total} minutes, no code.** Each lesson has a button that hides the code.

{stops}
1. Below: the verdicts from lesson {chart} on ({rest} minutes)

![{picture}](/report.png)

*A finished report, as lesson {report} makes it. A sentence that it allows: "On these 60 pictures,
most of each of the four maps is gone when the network has lost all that it learnt." One that it
does not: "The maps mark what the answer needs."*

""",
    stop="1. [Lesson {number}]({link}): {what} ({minutes} minutes)",
    stops=(
        "three explanations of one photograph disagree",
        "what a test of an explanation looks like, up to *Taken away, or exchanged?*",
        "the chart: which method for which question",
        "what a finished report may say, and what not",
    ),
    report=(
        "The first page of a report on BeetleNet and 60 pictures of beetles. No method passed the "
        "test by covering; occlusion, LRP, gradient and CAM passed the test with random weights. "
        "Below stand what may be said, and what not."
    ),
    relied_on="so one may rely on",
    rewritten="## The article's table, rewritten\n\nFrom lesson {number}.",
    glossary="""# Glossary

The words of the field as this course uses them, in English and Chinese, each with the lesson that
explains it.
""",
    lesson="Lesson {}",
)

CHINESE = Words(
    language="zh",
    further="延伸：这一节可以略过不读",
    solution="参考答案",
    how_to_read=(
        "这一页可以直接读，也可以运行：用 <code>make lab</code> 打开本课的 notebook。"
        "每道练习下面都有折叠起来的参考答案。"
    ),
    hide="隐藏代码",
    older="这一页由本课较早的版本生成，图和数可能与你运行的 notebook 不同。",
    numbers="数值",
    minutes="{} 分钟",
    lessons="""# 课程

请按顺序学。每一课都会让你 **先预测，再看结果**，答案稍后给出。课末有带检查的练习、结论和小测验，小测验的答案是折叠起来的。

| 课 | 问题 | 阅读 | 延伸 | 练习 |
|---|---|---|---|---|
{table}

每一课都可以在这里直接读。要运行和修改，用 `make lab` 打开（见[首页](/index.md)）。带虚线的词在[术语表](/glossary.md)里有解释。
""",
    verdicts="""# 什么可以相信？

这一页写给不写代码、但要决定一个解释可以用来做什么的人。在这门课里，关于解释的每一个论断都是一个数，而这个数本来有可能是另一个样子。下面是各课的结论，有关的数值折叠在结论下面。结论只针对该课的网络和图像；能推广到多远，那里也有说明。每一句结论是与什么相比得出的，见[英文页](inv:en:std:doc#verdicts)里的表。

**要认识的词**。*标准答案*（answer key）：甲虫的每个部位对网络值多少，这是测出来的。与标准答案的 *一致度*（agreement）：各部位的顺序完全相同为 1，毫无关系为 0。*对照图*（null）：对网络一无所知的图。*图鉴对照*（field guide）：知道每个种长什么样的对照图。*技巧评分*（skill）：最好的对照图为 0，标准答案为 1。*随机种子*（seed）：代表一次训练；换一个随机种子，就得到另一个网络。*解读方式*（reading）：拿图与标准答案作比较的一种合理方式。*无定论*（open）：没有得到证明，因为差的区间包含 0。*标签*（label）：甲虫旁边的一张小纸片；网络如果凭它作答，就走了 *捷径*（shortcut）。*原文*（the article）：这门课所检验的文章。其他的词见[术语表](/glossary.md)。

{path}不管谁给你看一个解释，都可以问 **三个问题**：

1. *与什么相比*？不说明基线，一个解释就只说了一半（第 {compared} 课）。
2. *对网络一无所知的图能得多少分*？分数再高，也只有高出它的那一部分才算数（第 {scored} 课）。
3. *把那样东西拿掉，结果怎样*？这是测量；图只是估计（第 {taken} 课）。
""",
    the_lesson="本课",
    breaks="何处失效",
    path="""**一条路线，{total} 分钟，不看代码**。每一课都有一个按钮，用来隐藏代码。

{stops}
1. 下文：第 {chart} 课起各课的结论（{rest} 分钟）

![{picture}](/report.png)

*一份写好的报告，做法见第 {report} 课。根据它可以说：“在这 60 张图上，网络忘掉学到的一切之后，四种图各自的大部分都消失了。”不可以说：“图标出了得出这个回答所需要的东西。”*

""",
    stop="1. [第 {number} 课]({link})：{what}（{minutes} 分钟）",
    stops=(
        "同一张照片，三种解释互不一致",
        "怎样检验一个解释，读到“去掉，还是换掉？”为止",
        "图表：哪个问题用哪种方法",
        "一份写好的报告：什么可以说，什么不可以说",
    ),
    report=(
        "一份报告的第一页，对象是 BeetleNet 和 60 张甲虫图像。没有一种方法通过遮盖测试；"
        "遮挡法、LRP、梯度和 CAM 通过了随机权重测试。下方写着什么可以说，什么不可以说。"
    ),
    relied_on="因此可以依靠",
    rewritten="## 重写原文的表格\n\n见第 {number} 课。",
    glossary="""# 术语表

这门课用到的术语，中英文对照，并注明由哪一课讲解。
""",
    lesson="第 {} 课",
)

# Words of the theme that have no Chinese in it, as they stand in an attribute.
THEME = {
    "Color mode": "浅色或深色",
    "Main": "导航",
    "Page": "本页目录",
    "Search...": "搜索……",
    "System Settings": "跟随系统",
    "Toggle hidden content": "展开或折叠",
    "Toggle primary sidebar": "显示或隐藏导航",
    "Toggle secondary sidebar": "显示或隐藏本页目录",
}
WORDS = {words.language: words for words in (ENGLISH, CHINESE)}
