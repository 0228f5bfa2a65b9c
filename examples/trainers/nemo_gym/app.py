"""A resources server of NeMo-Gym that judges over gRPC: resources_servers/jury/app.py. Needs jury-client in addition to NeMo-Gym."""

from jury.trainers.nemo_gym import JuryServer

if __name__ == "__main__":
    JuryServer.run_webserver()
