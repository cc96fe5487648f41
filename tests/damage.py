"""Damaged files for property tests: any bytes, and valid ones with bytes changed, put in, or cut off."""

from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return what may have become of a file on a bad disk, in a bad copy, or in the hands of a stranger."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(("flip", "set", "insert", "digit"))):
            case "flip" if data:
                data[place] ^= 1 << draw(st.integers(0, 7))
            case "set" if data:
                data[place] = draw(st.integers(0, 255))
            case "digit" if data:
                data[place : place + 1] = draw(
                    st.sampled_from((b"9", b"-", b"1e9", b'"', b"null", b"[", b"}"))
                )
            case _:
                data[place:place] = draw(st.binary(min_size=1, max_size=8))
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)
