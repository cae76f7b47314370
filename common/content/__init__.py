"""What pages and consoles say and show, as data: messages, and the sections that they stand in."""

from common.content.messages import Message, message  # noqa: F401
from common.content.sections import *  # noqa: F403
