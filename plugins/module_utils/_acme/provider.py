# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where TXT values are written. One change per zone, whatever the number of names."""

from __future__ import annotations

import abc


class Provider(abc.ABC):
    """A DNS service that can add values to TXT sets and take them away again, leaving the others'."""

    #: what `journal` writes down, so that a later run can clean up after one that was killed
    name = ""

    @abc.abstractmethod
    def locate(self, challenge):
        """-> (where the challenge name ends, its zone), both without a final dot.

        Raises InputError when no zone of ours holds it, DnsError when the service does not let us in: both before any
        change.
        """

    @abc.abstractmethod
    def add(self, zone, sets, timeout=60, stopped=None):
        """Add values, {fqdn: values}, in one change. -> an id for wait(), or None when it is in force at once.

        What fails for a time is tried again for `timeout` seconds, or until the event `stopped` is set; then DnsError.
        """

    @abc.abstractmethod
    def remove(self, zone, sets, timeout=60):
        """Take exactly those values away, in one change. Values that are not there are no error. `timeout` as for add()."""

    def wait(self, changes, timeout):
        """Until the service says that its servers have the changes."""
