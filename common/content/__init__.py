"""What pages and consoles say and show, as data: messages, and the sections that they stand in."""

from common.content.sections import *  # noqa: F403
from common.messages import Message, message  # noqa: F401
