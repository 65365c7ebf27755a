import pytest
import torch
from torchmetrics.functional.regression import concordance_corrcoef

from mer_ray.objectives.concordance import concordance_sums, whole


def example():
    torch.manual_seed(3)
    label_BV = torch.randn(12, 2)
    label_BV[[0, 4], 0] = torch.nan
    return torch.randn(12, 2, requires_grad=True, dtype=torch.float32), label_BV


def population_ccc(predicted, label):
    known = ~label.isnan()
    n = known.sum()
    # torchmetrics divides by n - 1; the mean's distance does not.
    p, t = predicted[known], label[known]
    biased = (n - 1) / n
    return 2 * biased * torch.cov(torch.stack([p, t]))[0, 1] / (biased * (p.var() + t.var()) + (p.mean() - t.mean()) ** 2)


def test_a_sum_over_its_mass_is_one_minus_the_concordance():
    predicted_BV, label_BV = example()
    sums_V = concordance_sums(predicted_BV, label_BV, whole, 1)
    for column, count in ((0, 10), (1, 12)):
        expected = 1 - population_ccc(predicted_BV[:, column].detach(), label_BV[:, column])
        assert sums_V[column].item() / count == pytest.approx(expected.item(), abs=1e-5)
    large = torch.randn(5000), torch.randn(5000)
    ours = 1 - concordance_sums(large[0][:, None], large[1][:, None], whole, 1).item() / 5000
    assert ours == pytest.approx(concordance_corrcoef(*large).item(), abs=1e-4)


def test_shares_of_workers_add_up_to_the_whole_in_value_and_gradient():
    predicted_BV, label_BV = example()
    concordance_sums(predicted_BV, label_BV, whole, 1).sum().backward()
    expected, total = predicted_BV.grad, 0.0
    found = []
    parts = torch.tensor_split(predicted_BV.detach(), 3)
    labels = torch.tensor_split(label_BV, 3)
    everything = torch.cat([torch.cat(pair, dim=1) for pair in zip(parts, labels, strict=True)])
    for rank, (part, label) in enumerate(zip(parts, labels, strict=True)):
        own = part.clone().requires_grad_()

        def gather(rows, rank=rank):
            pieces = list(torch.tensor_split(everything, 3))
            pieces[rank] = rows
            return torch.cat(pieces)

        share_V = concordance_sums(own, label, gather, 3)
        share_V.sum().backward()
        total = total + share_V.detach()
        found.append(own.grad)
    assert torch.allclose(total, concordance_sums(*example(), whole, 1).detach(), atol=1e-5)
    assert torch.allclose(torch.cat(found), expected, atol=1e-6)


@pytest.mark.parametrize("known", [0, 1])
def test_too_few_labels_give_a_finite_loss_and_no_gradient_of_covariance(known):
    predicted_BV = torch.randn(4, 1, requires_grad=True)
    label_BV = torch.full((4, 1), torch.nan)
    label_BV[:known] = 1.0
    sums_V = concordance_sums(predicted_BV, label_BV, whole, 1)
    sums_V.sum().backward()
    assert sums_V.item() == known and predicted_BV.grad.isfinite().all() and not predicted_BV.grad[known:].any()


def test_the_gradient_is_that_of_finite_differences():
    predicted_BV, label_BV = example()
    doubled = predicted_BV.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: concordance_sums(x, label_BV.double(), whole, 1), (doubled,))
