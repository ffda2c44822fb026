"""Put a storage that was read from a connection where the body of a start has its place for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_realtimekit.exceptions import RealtimeKitInputError


def add_storage(arguments: Mapping[str, Any], storage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a start, composite or tracks, with the storage in them.

    Of tracks, every output of type ``STORAGE_CONFIG`` gets it; a layer that names no outputs goes to RealtimeKit's
    bucket and to the storage, as a composite recording does.

    :raises RealtimeKitInputError: when a storage is there already, or no layer has a place for one
    """
    if "layers" in arguments:
        return {**arguments, "layers": _fill_layers(arguments["layers"], storage)}
    if arguments.get("storage_config"):
        raise _given_twice("storage_config")
    return {**arguments, "storage_config": storage}


def _fill_layers(layers: Any, storage: Mapping[str, Any]) -> Any:
    from airflow_provider_realtimekit.redaction import parse_json_object

    given = parse_json_object(layers) if isinstance(layers, str) else layers or {"default": {}}
    if not isinstance(given, Mapping) or not all(isinstance(layer, Mapping) for layer in given.values()):
        return layers  # the request's own check tells what is wrong with it
    filled = {name: _fill_layer(name, layer, storage) for name, layer in given.items()}
    if filled == dict(given):
        raise RealtimeKitInputError("storage_conn_id is given, but no layer has an output of type 'STORAGE_CONFIG'")
    return filled


def _fill_layer(name: str, layer: Mapping[str, Any], storage: Mapping[str, Any]) -> dict[str, Any]:
    outputs = layer.get("outputs")
    if outputs is None:
        outputs = [{"type": "REALTIMEKIT_BUCKET"}, {"type": "STORAGE_CONFIG"}]
    if not isinstance(outputs, list | tuple):
        return dict(layer)
    return {**layer, "outputs": [_fill_output(name, output, storage) for output in outputs]}


def _fill_output(layer: str, output: Any, storage: Mapping[str, Any]) -> Any:
    if not isinstance(output, Mapping) or output.get("type") != "STORAGE_CONFIG":
        return output
    if output.get("storage_config"):
        raise _given_twice(f"a storage_config in layer {layer!r}")
    return {**output, "storage_config": storage}


def _given_twice(what: str) -> RealtimeKitInputError:
    return RealtimeKitInputError(f"{what} and storage_conn_id are both given: give one of the two")
