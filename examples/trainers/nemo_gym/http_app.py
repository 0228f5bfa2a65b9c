"""A resources server of NeMo-Gym that calls a coordinator's `/verify`: resources_servers/jury/http_app.py. Needs no package of ours."""

import aiohttp
from fastapi.responses import JSONResponse
from nemo_gym.base_resources_server import BaseResourcesServerConfig, BaseVerifyRequest, SimpleResourcesServer
from pydantic import ConfigDict


class JuryConfig(BaseResourcesServerConfig):
    url: str


class JuryVerifyRequest(BaseVerifyRequest):
    model_config = ConfigDict(extra="allow")  # expected_answer, criteria


class JuryServer(SimpleResourcesServer):
    config: JuryConfig

    async def verify(self, body: JuryVerifyRequest):
        no_limit = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=no_limit) as session:
            async with session.post(self.config.url, json=body.model_dump(mode="json")) as answer:
                answer.raise_for_status()
                return JSONResponse(await answer.json())


if __name__ == "__main__":
    JuryServer.run_webserver()
