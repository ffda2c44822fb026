"""Make reports of recordings: contact sheet, waveform, sound for speech-to-text, measurements, and pages.

The example DAGs import it, and nothing here needs this provider: it is what you would replace with your own work.
Read `media` first, then `measurements` and `drawing`, then `report_page` and `speakers_page`; `object_storage`
connects all of them to Airflow. `python -m realtimekit_report` makes a report without Airflow.
"""
