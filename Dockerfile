# The worker alone, as a user without rights. Its folder is /data: give it a volume, or the ledger goes with the container.
FROM python:3.13-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DATA_DIR=/data

WORKDIR /app
COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin worker \
    && install --directory --owner=worker --group=worker --mode=0700 /data

COPY . ./

USER worker
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "main.py"]
