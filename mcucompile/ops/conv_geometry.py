"""The numbers of a convolution, by which kernels are chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Geometry:
    """A convolution in numbers: one image of in_h x in_w pixels of cin bytes, and so on."""

    in_h: int
    in_w: int
    cin: int
    out_h: int
    out_w: int
    cout: int
    kh: int
    kw: int
    sh: int
    sw: int
    dh: int
    dw: int
    top: int
    left: int

    def params(self, names: str) -> dict[str, int]:
        """The fields `names`, separated by blanks, as parameters of a kernel."""
        return {name: getattr(self, name) for name in names.split()}

    @property
    def is_pointwise(self) -> bool:
        """Is each pixel of the result made of the same pixel of the input?"""
        one = (self.kh, self.kw, self.sh, self.sw) == (1, 1, 1, 1)
        return one and (self.in_h, self.in_w) == (self.out_h, self.out_w) and not self._is_padded

    @property
    def is_one_window(self) -> bool:
        """Is there one window, and is it the whole input in its order?"""
        whole = (self.kh, self.kw) == (self.in_h, self.in_w)
        whole &= (self.kh == 1 or self.dh == 1) and (self.kw == 1 or self.dw == 1)
        return whole and (self.out_h, self.out_w) == (1, 1) and not self._is_padded

    @property
    def _is_padded(self) -> bool:
        return self.top > 0 or self.left > 0

    def lying(self) -> Geometry:
        """A one-pixel-wide image laid on its side, whose bytes are the same: kernels work along
        rows."""
        if self.in_w > 1 or self.kw > 1 or self.out_w > 1 or self.left:
            return self
        return replace(
            self,
            in_h=1,
            in_w=self.in_h,
            out_h=1,
            out_w=self.out_h,
            kh=1,
            kw=self.kh,
            sh=1,
            sw=self.sh,
            dh=1,
            dw=self.dh,
            top=0,
            left=self.top,
        )
