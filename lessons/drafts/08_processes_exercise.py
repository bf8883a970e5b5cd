# ---- lesson text -----------------------------------------------------------------------------------

# %% [markdown]
# ### Exercise: the mean of the means (10 minutes, easy)
#
# Two processes share a batch of 5 images: one has 3, the other 2. Each computes the gradient of the mean loss *of its own images*.
# `DistributedDataParallel` takes the plain mean of the two gradients, and that is not the gradient of the batch. Write the function
# that is: `gradients` is a list of tensors, one from each process, `counts` how many images each had (some may have none).


# %% tags=["exercise"]
def gradient_of_batch(gradients, counts): ...


# %% tags=["solution"]
def gradient_of_batch(gradients, counts):
    return sum(n * g for g, n in zip(gradients, counts, strict=True)) / sum(counts)


# %%
check_gradient_of_batch(gradient_of_batch)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A mean times its count is a sum. Sums may be added; then divide once, by the number of all images.
#
# This is why `loader(share=)` leaves out what cannot be shared out evenly: with equal counts the plain mean is right.
#
# </details>

# ---- xai_course/exercises/lesson_08.py ---------------------------------------------------------------


@check
def check_gradient_of_batch(answer: Callable[..., Any]) -> str:
    """`answer(gradients, counts)` gives the gradient of the whole batch's mean loss."""
    for counts in ([3, 2], [4, 4], [1, 0, 7], [5]):
        gradients = [torch.randn(3, 2) for _ in counts]
        got = ask_tensor(answer, (3, 2), gradients, counts)
        right = sum(n * g for g, n in zip(gradients, counts, strict=True)) / sum(counts)
        if close(got, right):
            continue
        if close(got, sum(gradients) / len(gradients)):
            raise Wrong(f"For {counts} images this is the plain mean: one image of a small share counts more.")
        if close(got, right * sum(counts)):
            raise Wrong(f"For {counts} images this is a sum. The loss is a mean over all {sum(counts)}.")
        if close(got, right * sum(counts) / len(counts)):
            raise Wrong("Divide by the number of images, not by that of processes.")
        raise Wrong(f"For {counts} images this is not the gradient of the batch's mean loss.")
    return "Every image counts the same, whoever had it. With equal shares it is the plain mean."


# ---- tests/answers_08.py ---------------------------------------------------------------------------
# right:
#     lambda gradients, counts: sum(n * g for g, n in zip(gradients, counts)) / sum(counts)
#     lambda gradients, counts: torch.stack([n * g for g, n in zip(gradients, counts)]).sum(0) / sum(counts)
# wrong (with words to find):
#     lambda gradients, counts: sum(gradients) / len(gradients)                                  "plain mean"
#     lambda gradients, counts: sum(n * g for g, n in zip(gradients, counts))                    "this is a sum"
#     lambda gradients, counts: sum(n * g for g, n in zip(gradients, counts)) / len(counts)      "not by that of processes"
#     lambda gradients, counts: gradients[0]                                                     "not the gradient"
