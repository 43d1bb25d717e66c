import asyncio

from aragora_cp import ControlPlaneCoordinator


async def main() -> None:
    async with ControlPlaneCoordinator() as plane:
        source = "import os\n\ndef f(items=[]):\n    return eval(items)\n"
        payload = {"files": [{"path": "example.py", "source": source}]}
        task_id = await plane.submit_task("code.review", payload, ["code"])
        result = await plane.wait_for_result(task_id, timeout=30)
        for finding in result["findings"]:
            print(f"{finding['file']}:{finding['line']} {finding['rule']} {finding['message']}")


asyncio.run(main())
