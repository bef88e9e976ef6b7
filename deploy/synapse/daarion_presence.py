"""Presence of everybody for a few observers: a presence router module for Synapse.

The city's presence daemon listens to the homeserver with an ordinary /sync. By itself Synapse tells a
user only of people in his own rooms, and tells every member of a room of every other one. With this
module the observers are told of everybody, once for each change, whatever rooms they are in; so the big
rooms of the city can be taken out of presence for all the other clients (exclude_rooms_from_presence),
and the work grows with the number of changes, not with rooms times people.

homeserver.yaml (`daarion matrix-config --size=N` writes it)::

    modules:
      - module: daarion_presence.DaarionPresence
        config:
          observers: ["@presence_daemon:example.org"]

The directory of this file must be in PYTHONPATH of every Synapse process. The list and the module are
read when Synapse starts. An observer sees everybody's presence: keep its access token as safe as an
administrator's. Observers must be local, ordinary users: users of an application service cannot /sync.

Callbacks of Synapse since 1.42; tested with 1.160.
"""

from typing import Any, Dict, FrozenSet, Iterable, Set, Union

from synapse.api.presence import UserPresenceState
from synapse.module_api import PRESENCE_ALL_USERS, ModuleApi
from synapse.module_api.errors import ConfigError

__all__ = ["DaarionPresence"]


class DaarionPresence:
    """Routes the presence of everybody to the observers."""

    def __init__(self, config: FrozenSet[str], api: ModuleApi) -> None:
        for observer in sorted(config):
            if not api.is_mine(observer):
                raise ConfigError(
                    f"daarion_presence: {observer} is no user of this homeserver"
                )
        self._observers = config
        api.register_presence_router_callbacks(
            get_users_for_states=self.get_users_for_states,
            get_interested_users=self.get_interested_users,
        )

    @staticmethod
    def parse_config(config: Dict[str, Any]) -> FrozenSet[str]:
        """Takes the module's section of homeserver.yaml; Synapse does not start when it is wrong."""
        unknown = sorted(set(config) - {"observers"})
        if unknown:
            raise ConfigError(f"daarion_presence: unknown setting {unknown[0]!r}")
        observers = config.get("observers")
        if not isinstance(observers, list) or not observers:
            raise ConfigError("daarion_presence: observers must be a list of user ids")
        for observer in observers:
            if not (
                isinstance(observer, str)
                and observer.startswith("@")
                and ":" in observer
            ):
                raise ConfigError(f"daarion_presence: {observer!r} is not a user id")
        return frozenset(observers)

    async def get_users_for_states(
        self, state_updates: Iterable[UserPresenceState]
    ) -> Dict[str, Set[UserPresenceState]]:
        """Whom these changes are sent to besides those who share a room with them.

        Every observer is named, also when there are no changes: Synapse looks him up in the answer.
        """
        states = set(state_updates)
        return {observer: states for observer in self._observers}

    async def get_interested_users(self, user_id: str) -> Union[Set[str], str]:
        """Whose presence this user is told besides that of people in his rooms."""
        return PRESENCE_ALL_USERS if user_id in self._observers else set()
