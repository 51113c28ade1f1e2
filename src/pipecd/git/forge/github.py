"""GitHub and GitHub Enterprise Server. Source: https://docs.github.com/rest/pulls/pulls"""

from pipecd.git.forge.api import Answer, last_parts, text_of
from pipecd.git.forge.pull_request import Proposal, PullRequest
from pipecd.git.forge.pulls import Pulls, pull_request


class GitHub(Pulls):
    permission = '"Pull requests: write" (of a classic token: the scope "repo")'

    async def find(self, path: str, proposal: Proposal) -> PullRequest | None:
        owner = last_parts(path)[0]
        params = {"state": "open", "head": f"{owner}:{proposal.branch}", "base": proposal.base}
        records = await self.list(path, params)
        found = [record for record in records if text_of(record, "head", "ref") == proposal.branch]
        return pull_request(found[0]) if found else None

    @staticmethod
    def exists(answer: Answer, words: str) -> bool:
        return answer.status == 422 and "pull request already exists" in words
