"""The recordings API over HTTP: operations, answers, pagination, retries and the rate limit.

May be imported by everything above. It imports only ``models``, ``exceptions``, ``redaction``, ``metrics`` and
``defaults``, and knows no DAG, context or Connection. Read ``flow`` and ``recordings`` first (the operations, as
generators without I/O), then ``responses``, ``headers`` and ``pagination`` (what comes back), ``retry`` and
``rate_limit`` (whether and when a request is sent), and ``client`` (the only network I/O).
"""
