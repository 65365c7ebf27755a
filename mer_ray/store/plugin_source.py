"""The code of an encoder that is a plug-in: `_plugin.py` beside its record, so that its features can be made again."""

from mer_ray.core.errors import StoreError
from mer_ray.store.layout import Store
from mer_ray.store.publishing import publish, read_if_there


def write_plugin_source(store: Store, corpus: str, key: str, text: str) -> None:
    """Write the code; the key follows from its digest, so what lies there already is the same.

    Raises:
        StoreError: the store cannot be written.

    """
    with publish(store, store.plugin_path(corpus, key)) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def read_plugin_source(store: Store, corpus: str, key: str) -> str:
    """Read the code.

    Raises:
        StoreError: it is not there, or cannot be read.

    """
    path = store.plugin_path(corpus, key)
    content = read_if_there(store, path)
    if content is None:
        raise StoreError(f"{store.locate(path)}: is missing beside the features of a plug-in; extract once more to write it")
    return content.decode("utf-8")
