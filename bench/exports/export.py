"""Exports recommendation models of many families with both of PyTorch's exporters, for `braid check`.

    python3 bench/exports/export.py OUT

Writes OUT/FAMILY.EXPORTER.onnx and OUT/FAMILY.EXPORTER.safetensors (in.NAME, out.NAME) with random weights; needs torch,
onnx, onnxscript and safetensors. An export that fails is reported and skipped.
"""
import sys
import warnings

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
torch.manual_seed(0)
OUT = sys.argv[1]
ROWS, FIELDS, DIM, SIZE = 5, 6, 8, 50


def mlp(*widths):
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Fields(nn.Module):
    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(SIZE, DIM) for _ in range(FIELDS))

    def embed(self, ids):
        return torch.stack([t(ids[:, i]) for i, t in enumerate(self.tables)], 1)

    def inputs(self):
        return {"ids": torch.randint(0, SIZE, (ROWS, FIELDS))}


class DeepFM(Fields):
    def __init__(self):
        super().__init__()
        self.first = nn.Embedding(SIZE, 1)
        self.deep = mlp(FIELDS * DIM, 16, 1)

    def forward(self, ids):
        e = self.embed(ids)
        fm = 0.5 * (e.sum(1).pow(2) - e.pow(2).sum(1)).sum(1, keepdim=True)
        return torch.sigmoid(self.first(ids).sum(1) + fm + self.deep(e.flatten(1)))


class DCNv2(Fields):
    def __init__(self):
        super().__init__()
        width = FIELDS * DIM
        self.u = nn.ModuleList(nn.Linear(width, 8, bias=False) for _ in range(3))
        self.v = nn.ModuleList(nn.Linear(8, width) for _ in range(3))
        self.top = mlp(width, 16, 1)

    def forward(self, ids):
        x0 = x = self.embed(ids).flatten(1)
        for u, v in zip(self.u, self.v):
            x = x0 * v(u(x)) + x
        return torch.sigmoid(self.top(x))


class XDeepFM(Fields):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, FIELDS, FIELDS) * 0.1)
        self.out = nn.Linear(4, 1)

    def forward(self, ids):
        e = self.embed(ids)
        z = torch.einsum("bid,bjd->bijd", e, e)
        return torch.sigmoid(self.out(torch.einsum("bijd,hij->bhd", z, self.w).sum(-1)))


class AutoInt(Fields):
    def __init__(self):
        super().__init__()
        self.att = nn.MultiheadAttention(DIM, 2, batch_first=True)
        self.out = nn.Linear(FIELDS * DIM, 1)

    def forward(self, ids):
        e = self.embed(ids)
        a, _ = self.att(e, e, e, need_weights=False)
        return torch.sigmoid(self.out(F.relu(a + e).flatten(1)))


class TwoTower(Fields):
    def __init__(self):
        super().__init__()
        self.user = mlp(3 * DIM, 16, 8)
        self.item = mlp(3 * DIM, 16, 8)

    def forward(self, ids):
        e = self.embed(ids)
        u = F.normalize(self.user(e[:, :3].flatten(1)), dim=-1)
        i = F.normalize(self.item(e[:, 3:].flatten(1)), dim=-1)
        return (u * i).sum(-1)


class MMoE(Fields):
    def __init__(self):
        super().__init__()
        width = FIELDS * DIM
        self.experts = nn.ModuleList(mlp(width, 16, 8) for _ in range(3))
        self.gates = nn.ModuleList(nn.Linear(width, 3) for _ in range(2))
        self.towers = nn.ModuleList(mlp(8, 8, 1) for _ in range(2))

    def forward(self, ids):
        x = self.embed(ids).flatten(1)
        experts = torch.stack([e(x) for e in self.experts], 1)
        return torch.cat([t((torch.softmax(g(x), -1).unsqueeze(-1) * experts).sum(1)) for g, t in zip(self.gates, self.towers)], 1)


class SASRec(nn.Module):
    def __init__(self, length=10, heads=2):
        super().__init__()
        self.items, self.positions = nn.Embedding(SIZE, DIM, padding_idx=0), nn.Embedding(length, DIM)
        self.length, self.heads = length, heads
        self.qkv, self.proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.n1, self.n2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.ff = nn.Sequential(nn.Linear(DIM, 16), nn.GELU(), nn.Linear(16, DIM))
        self.register_buffer("mask", torch.triu(torch.full((length, length), -1e4), 1))

    def forward(self, history, candidate):
        x = self.items(history) * DIM**0.5 + self.positions(torch.arange(self.length))
        b = x.shape[0]
        q, k, v = self.qkv(self.n1(x)).view(b, self.length, 3, self.heads, DIM // self.heads).permute(2, 0, 3, 1, 4)
        a = torch.softmax(q @ k.transpose(-1, -2) / (DIM // self.heads) ** 0.5 + self.mask, -1) @ v
        x = x + self.proj(a.transpose(1, 2).reshape(b, self.length, DIM))
        x = x + self.ff(self.n2(x))
        return (x[:, -1] * self.items(candidate)).sum(-1)

    def inputs(self):
        return {"history": torch.randint(1, SIZE, (ROWS, 10)), "candidate": torch.randint(0, SIZE, (ROWS,))}


class MultiHot(nn.Module):
    """Multi-hot DLRM tables as padded bags."""

    def __init__(self):
        super().__init__()
        self.bags = nn.ModuleList(nn.Embedding(SIZE, DIM) for _ in range(2))
        self.bottom, self.top = mlp(4, 16, DIM), mlp(3 * DIM, 16, 1)

    def forward(self, dense, a, b, b_mask):
        pooled = [self.bags[0](a).mean(1), (self.bags[1](b) * b_mask.unsqueeze(-1)).sum(1)]
        return torch.sigmoid(self.top(torch.cat([self.bottom(dense), *pooled], 1)))

    def inputs(self):
        ids = torch.randint(0, SIZE, (2, ROWS, 7))
        return {"dense": torch.rand(ROWS, 4), "a": ids[0], "b": ids[1], "b_mask": (torch.rand(ROWS, 7) > 0.3).float()}


class Bag(nn.Module):
    """nn.EmbeddingBag with ragged values and offsets."""

    def __init__(self, mode):
        super().__init__()
        self.bag, self.top = nn.EmbeddingBag(SIZE, DIM, mode=mode), mlp(DIM, 8, 1)

    def forward(self, values, offsets):
        return self.top(self.bag(values, offsets))

    def inputs(self):
        return {"values": torch.randint(0, SIZE, (17,)), "offsets": torch.tensor([0, 3, 3, 9, 12])}


class WeightedBag(Bag):
    """nn.EmbeddingBag with a weight a sample, and the list of offsets closed by its end."""

    def __init__(self):
        super().__init__("sum")
        self.bag = nn.EmbeddingBag(SIZE, DIM, mode="sum", include_last_offset=True)

    def forward(self, values, offsets, weights):
        return self.top(self.bag(values, offsets, weights))

    def inputs(self):
        return {"values": torch.randint(0, SIZE, (17,)), "offsets": torch.tensor([0, 3, 3, 9, 12, 17]), "weights": torch.rand(17)}


class MatrixBag(nn.Module):
    """nn.EmbeddingBag over rows of ids, as many in each, beside a row to leave out."""

    def __init__(self):
        super().__init__()
        self.bag, self.padded = nn.EmbeddingBag(SIZE, DIM, mode="mean"), nn.EmbeddingBag(SIZE, DIM, mode="sum", padding_idx=0)
        self.top = mlp(2 * DIM, 8, 1)

    def forward(self, ids):
        return self.top(torch.cat([self.bag(ids), self.padded(ids)], 1))

    def inputs(self):
        return {"ids": torch.randint(0, 4, (ROWS, 6))}


class Dlrm(nn.Module):
    """DLRM as published: an EmbeddingBag a table, pairwise interaction by tril_indices."""

    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList(nn.EmbeddingBag(SIZE, DIM, mode="sum") for _ in range(3))
        self.bottom, self.top = mlp(4, 16, DIM), mlp(DIM + 6, 16, 1)
        li, lj = torch.tril_indices(4, 4, -1)
        self.register_buffer("li", li)
        self.register_buffer("lj", lj)

    def forward(self, dense, ids):
        x = self.bottom(dense)
        ly = [table(ids[:, i : i + 1]) for i, table in enumerate(self.tables)]
        t = torch.cat([x] + ly, 1).view(x.shape[0], -1, DIM)
        z = torch.bmm(t, t.transpose(1, 2))
        return torch.sigmoid(self.top(torch.cat([x, z[:, self.li, self.lj]], 1)))

    def inputs(self):
        return {"dense": torch.rand(ROWS, 4), "ids": torch.randint(0, SIZE, (ROWS, 3))}


class Cin(Fields):
    """xDeepFM's compressed interaction network by 1x1 convolutions."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv1d(FIELDS * FIELDS, 4, 1), nn.Conv1d(FIELDS * 4, 4, 1)])
        self.out = nn.Linear(8, 1)

    def forward(self, ids):
        x0 = h = self.embed(ids)
        pooled = []
        for conv in self.convs:
            z = (x0.unsqueeze(2) * h.unsqueeze(1)).reshape(x0.shape[0], -1, DIM)
            h = F.relu(conv(z))
            pooled.append(h.sum(2))
        return torch.sigmoid(self.out(torch.cat(pooled, 1)))


class TextCnn(Fields):
    """Convolutions over a sequence with pooling, as in Caser and NRMS-like news encoders."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv1d(DIM, 8, 3, padding=1)
        self.pool, self.average = nn.MaxPool1d(2), nn.AvgPool1d(3, stride=2, padding=1)
        self.adaptive, self.out = nn.AdaptiveAvgPool1d(1), nn.Linear(8 * 3 + 8 * 3 + 8, 1)

    def forward(self, ids):
        x = F.relu(self.wide(self.embed(ids).transpose(1, 2)))
        return self.out(torch.cat([self.pool(x).flatten(1), self.average(x).flatten(1), self.adaptive(x).flatten(1)], 1))


class Din(nn.Module):
    """DIN with Dice and a masked softmax."""

    def __init__(self, length=7):
        super().__init__()
        self.items = nn.Embedding(SIZE, DIM, padding_idx=0)
        self.a1, self.bn, self.a2 = nn.Linear(4 * DIM, 12), nn.BatchNorm1d(12), nn.Linear(12, 1)
        self.alpha = nn.Parameter(torch.rand(12))
        self.top, self.length = mlp(3 * DIM, 16, 1), length

    def forward(self, history, candidate):
        keys, query = self.items(history), self.items(candidate)
        q = query.unsqueeze(1).expand(-1, self.length, -1)
        x = self.a1(torch.cat([q, keys, q - keys, q * keys], -1))
        p = torch.sigmoid(self.bn(x.transpose(1, 2)).transpose(1, 2))
        x = p * x + (1 - p) * self.alpha * x
        score = self.a2(x).squeeze(-1) / DIM**0.5
        score = score.masked_fill(history == 0, float("-inf"))
        pooled = torch.bmm(torch.softmax(score, -1).unsqueeze(1), keys).squeeze(1)
        return torch.sigmoid(self.top(torch.cat([pooled, query, pooled * query], 1)))

    def inputs(self):
        history = torch.randint(1, SIZE, (ROWS, 7))
        history[:, 5:] = 0
        return {"history": history, "candidate": torch.randint(1, SIZE, (ROWS,))}


class Bst(nn.Module):
    """BST with torch's own encoder layer."""

    def __init__(self, length=6):
        super().__init__()
        self.items, self.positions = nn.Embedding(SIZE, DIM), nn.Parameter(torch.randn(1, length + 1, DIM))
        self.encoder = nn.TransformerEncoderLayer(DIM, 2, 16, batch_first=True, activation="gelu")
        self.top = nn.Sequential(nn.Linear((length + 1) * DIM, 16), nn.LeakyReLU(), nn.Linear(16, 1))

    def forward(self, history, candidate):
        x = self.items(torch.cat([history, candidate.unsqueeze(1)], 1)) + self.positions
        return torch.sigmoid(self.top(self.encoder(x).flatten(1)))

    def inputs(self):
        return {"history": torch.randint(0, SIZE, (ROWS, 6)), "candidate": torch.randint(0, SIZE, (ROWS,))}


class Gru4Rec(nn.Module):
    def __init__(self):
        super().__init__()
        self.items, self.gru = nn.Embedding(SIZE, DIM), nn.GRU(DIM, 12, batch_first=True)
        self.out = nn.Linear(12, DIM)

    def forward(self, history, candidate):
        state = self.out(self.gru(self.items(history))[0][:, -1])
        return (state * self.items(candidate)).sum(-1)

    def inputs(self):
        return {"history": torch.randint(0, SIZE, (ROWS, 5)), "candidate": torch.randint(0, SIZE, (ROWS,))}


class FiBiNet(Fields):
    """Squeeze-and-excitation over fields, and bilinear interactions."""

    def __init__(self):
        super().__init__()
        self.excite = nn.Sequential(nn.Linear(FIELDS, 3), nn.ReLU(), nn.Linear(3, FIELDS), nn.Hardsigmoid())
        self.bilinear = nn.Linear(DIM, DIM, bias=False)
        self.top = mlp(15 * DIM, 16, 1)

    def forward(self, ids):
        e = self.embed(ids)
        e = e * self.excite(e.mean(-1)).unsqueeze(-1)
        i, j = torch.triu_indices(FIELDS, FIELDS, 1)
        return torch.sigmoid(self.top((self.bilinear(e)[:, i] * e[:, j]).flatten(1)))


class Hstu(nn.Module):
    """A pointwise-activated, causal, gated sequence layer with a relative position bias."""

    def __init__(self, length=8):
        super().__init__()
        self.items, self.proj = nn.Embedding(SIZE, DIM), nn.Linear(DIM, 4 * DIM)
        self.norm, self.out = nn.LayerNorm(DIM), nn.Linear(DIM, DIM)
        self.bias, self.length = nn.Parameter(torch.randn(2 * length - 1)), length

    def forward(self, history, candidate):
        x = self.items(history)
        u, v, q, k = F.silu(self.proj(self.norm(x))).chunk(4, -1)
        at = torch.arange(self.length)
        a = F.silu(q @ k.transpose(1, 2) + self.bias[at[:, None] - at[None] + self.length - 1]) / self.length
        a = a.tril()
        x = x + self.out(F.layer_norm(a @ v, (DIM,)) * u)
        return F.cosine_similarity(x[:, -1], self.items(candidate), dim=-1)

    def inputs(self):
        return {"history": torch.randint(0, SIZE, (ROWS, 8)), "candidate": torch.randint(0, SIZE, (ROWS,))}


class BatchNormed(Fields):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(FIELDS * DIM, 16), nn.BatchNorm1d(16), nn.PReLU(), nn.Dropout(), nn.Linear(16, 1), nn.Sigmoid())
        self.net[1].running_mean.uniform_(-1, 1)
        self.net[1].running_var.uniform_(0.5, 2)

    def forward(self, ids):
        return self.net(self.embed(ids).flatten(1))


class DcnMix(Fields):
    """DCN-Mix: low-rank experts, gated."""

    def __init__(self, experts=3, rank=4):
        super().__init__()
        width = FIELDS * DIM
        self.u = nn.Parameter(torch.randn(experts, width, rank) * 0.1)
        self.v = nn.Parameter(torch.randn(experts, rank, width) * 0.1)
        self.c = nn.Parameter(torch.randn(experts, rank, rank) * 0.1)
        self.gate = nn.Linear(width, experts)
        self.top = nn.Linear(width, 1)

    def forward(self, ids):
        x0 = self.embed(ids).flatten(1)
        h = torch.tanh(torch.einsum("bw,ewr->ber", x0, self.u))
        h = torch.tanh(torch.einsum("ber,ers->bes", h, self.c))
        h = torch.einsum("bes,esw->bew", h, self.v) * x0.unsqueeze(1)
        weight = torch.softmax(self.gate(x0), -1)
        return torch.sigmoid(self.top((h * weight.unsqueeze(-1)).sum(1) + x0)).squeeze(-1)


class Pnn(Fields):
    """Inner products of pairs of fields, picked by index lists."""

    def __init__(self):
        super().__init__()
        pairs = [(i, j) for i in range(FIELDS) for j in range(i + 1, FIELDS)]
        self.register_buffer("left", torch.tensor([i for i, _ in pairs]))
        self.register_buffer("right", torch.tensor([j for _, j in pairs]))
        self.net = mlp(FIELDS * DIM + len(pairs), 16, 1)

    def forward(self, ids):
        e = self.embed(ids)
        products = (e[:, self.left] * e[:, self.right]).sum(-1)
        return torch.sigmoid(self.net(torch.cat([e.flatten(1), products], 1)))


class Afm(Fields):
    """Attentional factorization machine."""

    def __init__(self):
        super().__init__()
        self.attend = nn.Sequential(nn.Linear(DIM, 4), nn.ReLU(), nn.Linear(4, 1, bias=False))
        self.out = nn.Linear(DIM, 1, bias=False)
        self.rows, self.cols = torch.triu_indices(FIELDS, FIELDS, 1)

    def forward(self, ids):
        e = self.embed(ids)
        p = e[:, self.rows] * e[:, self.cols]
        return self.out((F.softmax(self.attend(p), 1) * p).sum(1))


class Neumf(nn.Module):
    def __init__(self):
        super().__init__()
        self.gmf = nn.ModuleList([nn.Embedding(SIZE, DIM), nn.Embedding(SIZE, DIM)])
        self.deep = nn.ModuleList([nn.Embedding(SIZE, DIM), nn.Embedding(SIZE, DIM)])
        self.net = nn.Sequential(nn.Linear(2 * DIM, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 8))
        self.out = nn.Linear(DIM + 8, 1)

    def forward(self, user, item):
        gmf = self.gmf[0](user) * self.gmf[1](item)
        deep = self.net(torch.cat([self.deep[0](user), self.deep[1](item)], -1))
        return torch.sigmoid(self.out(torch.cat([gmf, deep], -1))).view(-1)

    def inputs(self):
        return {"user": torch.randint(0, SIZE, (ROWS,)), "item": torch.randint(0, SIZE, (ROWS,))}


class Encoder(nn.Module):
    """BERT4Rec: PyTorch's own encoder layers, told by a mask of padding."""

    def __init__(self, length=7):
        super().__init__()
        self.items = nn.Embedding(SIZE, 16, padding_idx=0)
        self.positions = nn.Embedding(length, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.length = length

    def forward(self, items):
        x = self.items(items) + self.positions(torch.arange(self.length))
        # A bias of finite size instead of a mask: a line of padding alone has no softmax.
        h = self.encoder(x, mask=None, src_key_padding_mask=(items == 0).float() * -1e4)
        return h[:, -1] @ self.items.weight.T

    def inputs(self):
        items = torch.randint(1, SIZE, (ROWS, self.length))
        items[:, :2] = 0
        return {"items": items}


class Dien(nn.Module):
    """Interest evolution: a GRU, attention to the target, and a gated recurrence written as a loop over steps."""

    def __init__(self, length=5):
        super().__init__()
        self.items = nn.Embedding(SIZE, DIM)
        self.extract = nn.GRU(DIM, DIM, batch_first=True)
        self.gates = nn.Linear(2 * DIM, 2 * DIM)
        self.state = nn.Linear(2 * DIM, DIM)
        self.net = mlp(3 * DIM, 16, 2)
        self.length = length

    def forward(self, target, history):
        q = self.items(target)
        h, _ = self.extract(self.items(history))
        mask = history != 0
        scores = torch.bmm(h, q.unsqueeze(-1)).squeeze(-1)
        scores = torch.softmax(scores.masked_fill(~mask, -1e9), -1)
        state = torch.zeros_like(q)
        for t in range(self.length):
            both = torch.cat([h[:, t], state], -1)
            u, r = torch.sigmoid(self.gates(both)).chunk(2, -1)
            u = u * scores[:, t : t + 1]
            new = torch.tanh(self.state(torch.cat([h[:, t], r * state], -1)))
            state = (1 - u) * state + u * new
        return torch.log_softmax(self.net(torch.cat([q, state, h.mean(1)], -1)), -1)

    def inputs(self):
        return {"target": torch.randint(0, SIZE, (ROWS,)), "history": torch.randint(0, SIZE, (ROWS, self.length))}


class Dssm(nn.Module):
    """Two towers of bags, by cosine."""

    def __init__(self):
        super().__init__()
        self.user, self.item = nn.EmbeddingBag(SIZE, DIM, mode="mean"), nn.Embedding(SIZE, DIM)
        self.left, self.right = mlp(DIM, 16, 8), mlp(DIM, 16, 8)

    def forward(self, history, item):
        u, v = self.left(self.user(history)), self.right(self.item(item))
        return F.cosine_similarity(u, v) / 0.1 + F.normalize(u, dim=-1).amax(-1) + F.normalize(v, p=1.0, dim=-1).std(-1)

    def inputs(self):
        return {"history": torch.randint(0, SIZE, (ROWS, 4)), "item": torch.randint(0, SIZE, (ROWS,))}


class Ple(Fields):
    """Progressive layered extraction: shared and own experts, gates, two tasks in one output."""

    def __init__(self):
        super().__init__()
        width = FIELDS * DIM
        self.experts = nn.ModuleList(nn.ModuleList(mlp(width, 16, 8) for _ in range(2)) for _ in range(3))
        self.gates = nn.ModuleList(nn.Linear(width, 4, bias=False) for _ in range(2))
        self.towers = nn.ModuleList(nn.Sequential(nn.Linear(8, 4), nn.PReLU(), nn.Linear(4, 1)) for _ in range(2))

    def forward(self, ids):
        x = self.embed(ids).flatten(1)
        shared, *own = [[e(x) for e in experts] for experts in self.experts]
        outs = []
        for gate, experts, tower in zip(self.gates, own, self.towers):
            mixed = torch.stack(experts + shared, 1)
            outs.append(tower((gate(x).softmax(-1).unsqueeze(-1) * mixed).sum(1)))
        return torch.cat(outs, 1).sigmoid()


class Dense(nn.Module):
    """Numbers and categories as tabular models take them: logs, buckets, one-hot, layer norm, highway, top k."""

    def __init__(self):
        super().__init__()
        self.register_buffer("edges", torch.tensor([-1.0, 0.0, 0.5, 1.0]))
        self.bucket = nn.Embedding(5, DIM)
        self.norm = nn.LayerNorm(DIM + 6 + 4)
        self.gate, self.high = nn.Linear(DIM + 10, DIM + 10), nn.Linear(DIM + 10, DIM + 10)
        self.out = nn.Linear(DIM + 10, 6)

    def forward(self, numbers, kind):
        scaled = torch.sign(numbers) * torch.log1p(numbers.abs())
        first = numbers[:, :1]
        index = (first > self.edges).sum(-1)
        x = torch.cat([self.bucket(index), scaled.clamp(-3, 3), F.one_hot(kind, 4).float()], -1)
        x = self.norm(x)
        g = torch.sigmoid(self.gate(x))
        scores = self.out(g * F.silu(self.high(x)) + (1 - g) * x)
        best, at = torch.topk(scores, 3, dim=-1)
        return torch.cat([best, at.float(), torch.cumsum(scores, -1), scores.logsumexp(-1, keepdim=True)], -1)

    def inputs(self):
        return {"numbers": torch.randn(ROWS, 6), "kind": torch.randint(0, 4, (ROWS,))}


FAMILIES = {
    "deepfm": DeepFM(), "dcnv2": DCNv2(), "xdeepfm": XDeepFM(), "autoint": AutoInt(), "twotower": TwoTower(), "mmoe": MMoE(),
    "sasrec": SASRec(), "multihot": MultiHot(), "bag_sum": Bag("sum"), "bag_mean": Bag("mean"), "bag_max": Bag("max"),
    "bag_weighted": WeightedBag(), "bag_matrix": MatrixBag(), "dlrm": Dlrm(), "cin": Cin(), "textcnn": TextCnn(), "din": Din(),
    "bst": Bst(), "gru4rec": Gru4Rec(), "fibinet": FiBiNet(), "hstu": Hstu(), "batchnorm": BatchNormed(),
    "dcnmix": DcnMix(), "pnn": Pnn(), "afm": Afm(), "neumf": Neumf(), "bert4rec": Encoder(), "dien": Dien(), "dssm": Dssm(), "ple": Ple(),
    "dense": Dense(), "half": DCNv2().half(), "half_sasrec": SASRec().half(), "half_deepfm": DeepFM().half(),
}
for name, model in FAMILIES.items():
    model.eval()
    inputs = model.inputs()
    with torch.no_grad():
        expected = model(*inputs.values())
    for exporter in ("torchscript", "dynamo"):
        try:
            leading = {n: {0: "values" if n in ("values", "weights") else "batch"} for n in inputs}
            path = f"{OUT}/{name}.{exporter}.onnx"
            if exporter == "dynamo":
                symbols = {s: torch.export.Dim(s) for s in ("batch", "values")}
                shapes = tuple({0: symbols[leading[n][0]]} for n in inputs)
                torch.onnx.export(model, tuple(inputs.values()), path, input_names=list(inputs), output_names=["out"], dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False)
            else:
                torch.onnx.export(model, tuple(inputs.values()), path, input_names=list(inputs), output_names=["out"], dynamo=False, opset_version=17, dynamic_axes={**leading, "out": {0: "batch"}})
            tensors = {f"in.{n}": t.contiguous() for n, t in inputs.items()}
            save_file({**tensors, "out.out": expected.contiguous()}, f"{OUT}/{name}.{exporter}.safetensors")
        except Exception as error:
            print(f"export of {name} by {exporter} failed: {str(error).splitlines()[0][:160]}", flush=True)
