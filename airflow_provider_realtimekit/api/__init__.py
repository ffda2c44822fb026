"""The recordings API over HTTP: operations, answers, pagination, retries and the rate limit.

It knows no DAG, context or Connection, and imports only ``models``, ``exceptions``, ``redaction`` and ``metrics``.
Read ``recordings`` first (the operations, as generators without I/O), then ``responses`` and ``pagination`` (what
comes back), ``retry`` and ``rate_limit`` (when a request is sent), and ``client`` (the only network I/O).
"""
