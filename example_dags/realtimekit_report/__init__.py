"""Make reports of recordings: pictures, sound for speech-to-text, measurements, and pages.

The example DAGs import this package. It needs nothing of the provider: put your own processing in its place.
Read `media` first, then `measurements`, `drawing` and `speech`, then `report_page` and `speakers_page`.
`object_storage` connects them to Airflow, and `python -m realtimekit_report` makes a report without Airflow.
"""
