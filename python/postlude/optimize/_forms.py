"""The forms of a transformer layer: where its norms stand, and what its MLP reads and adds."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from .. import ops
from ._bind import Binder
from ._layer import FusedLayer


class Run(NamedTuple):
    """The bound ops of a layer; ``norms`` are those that are no part of another op."""

    qkv: Any
    project: Any
    mlp: Any
    norms: tuple[Any, ...] = ()


class _Form(FusedLayer):
    """``_bound`` makes the ops of a form from what differs: the norms and who adds x."""

    def _bound(
        self, bind: Binder, qkv: str | None, mlp: str | None, *rest: str, add: bool = True
    ) -> Run:
        """qkv and mlp: the paths of the norms before these two; rest: those of the other norms."""
        parts, part = self.PARTS, self.get_submodule
        norms = [None if path is None else part(path) for path in (qkv, mlp)]
        return Run(
            bind.qkv(*map(part, parts.qkv), norm=norms[0]),
            bind.linear(part(parts.project)),
            bind.mlp(
                *map(part, parts.mlp),
                down=part(parts.down),
                activation=part(parts.activation),
                norm=norms[1],
                gated=parts.gated,
                add_residual=add,
            ),
            tuple(bind.norm(part(path)) for path in rest),
        )

    def _norm(self, x: Tensor, norm: Any, add_after: Tensor | None = None) -> Tensor:
        """norm(x) (+ add_after), written over x."""
        y: Tensor = ops.norm(
            x, norm, add_after=add_after, out=x, batch_invariant=self.batch_invariant
        )
        return y


class PreNorm(_Form):
    """h = x + project(attention(norm(x))); y = h + MLP(norm(h))."""

    FUSES: ClassVar[tuple[str, ...]] = (
        "norm + query + key + value",
        "attention output + residual",
        "norm + {mlp} + residual",
    )

    def _ops(self, bind: Binder) -> Run:
        return self._bound(bind, *self.PARTS.norms)

    def _finish(self, run: Run, context: Tensor, x: Tensor) -> Tensor:
        y: Tensor = run.mlp(run.project(context, x))
        return y


class PostNorm(_Form):
    """h = norm(x + project(attention(x))); y = norm(h + MLP(h))."""

    FUSES: ClassVar[tuple[str, ...]] = (
        "query + key + value",
        "attention output + residual",
        "{mlp} + residual",
    )

    def _ops(self, bind: Binder) -> Run:
        return self._bound(bind, None, None, *self.PARTS.norms)

    def _finish(self, run: Run, context: Tensor, x: Tensor) -> Tensor:
        h = self._norm(run.project(context, x), run.norms[0])
        return self._norm(run.mlp(h), run.norms[1])


class PrePostNorm(_Form):
    """h = x + norm(project(attention(norm(x)))); y = h + norm(MLP(norm(h)))."""

    FUSES: ClassVar[tuple[str, ...]] = (
        "norm + query + key + value",
        "attention output",
        "norm + residual",
        "norm + {mlp}",
        "norm + residual",
    )

    def _ops(self, bind: Binder) -> Run:
        first, second, third, fourth = self.PARTS.norms
        return self._bound(bind, first, third, second, fourth, add=False)

    def _finish(self, run: Run, context: Tensor, x: Tensor) -> Tensor:
        h = self._norm(run.project(context), run.norms[0], x)
        return self._norm(run.mlp(h), run.norms[1], h)


class Parallel(_Form):
    """y = x + project(attention(norm(x))) + MLP(norm(x)), each norm its own or the same one."""

    FUSES: ClassVar[tuple[str, ...]] = (
        "norm + query + key + value",
        "attention output + residual",
        "norm + {mlp} + attention output",
    )

    def _ops(self, bind: Binder) -> Run:
        first, *second = self.PARTS.norms
        return self._bound(bind, first, second[0] if second else first, add=False)

    def _finish(self, run: Run, context: Tensor, x: Tensor) -> Tensor:
        y: Tensor = run.mlp(x, add_residual=run.project(context, x))
        return y


class AttentionOnly(_Form):
    """h = x + project(attention(norm(x))); y = h + M(norm(h)), M being ``mlp`` as it is."""

    FUSES: ClassVar[tuple[str, ...]] = (
        "norm + query + key + value",
        "attention output + residual",
        "norm",
    )

    def _ops(self, bind: Binder) -> Run:
        parts, part = self.PARTS, self.get_submodule
        first, second = map(part, parts.norms)
        qkv = bind.qkv(*map(part, parts.qkv), norm=first)
        return Run(qkv, bind.linear(part(parts.project)), None, (bind.norm(second),))

    def _finish(self, run: Run, context: Tensor, x: Tensor) -> Tensor:
        h = run.project(context, x)
        normed = ops.norm(h, run.norms[0], batch_invariant=self.batch_invariant)
        y: Tensor = h.add_(self.mlp(normed))  # type: ignore[operator]
        return y
