#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: letsencrypt_dns01
short_description: Issue and renew a certificate by DNS-01, in one task
version_added: 0.1.0
description:
  - Does all that an ACME certificate needs in one task, account, order, TXT values, proof that every authoritative DNS
    server has them, validation, download and the switch of the files. Takes its TXT values away again in every case,
    also when it fails or is stopped.
  - DNS-01 is the challenge that works where DNS answers differently in every region, as latency records do. A
    certificate authority (CA) that checks by HTTP would be sent to another region than the one that asked.
  - Run it once, on one machine, and hand the files to all hosts. Let's Encrypt issues 5 certificates a week for the same
    set of names, so hosts that each issue alone are locked out.
  - It changes nothing, and asks nobody but the CA for its renewal advice (ARI, RFC 9773), while what lies in O(dest) is
    what was asked for and its time has not come.
options:
  state:
    description:
      - V(present) issues when something is missing, different or due.
      - V(absent) removes the files, with all former versions. Nothing is revoked. Where a killed run left TXT values it takes
        them away first, for which it needs the options of the DNS provider, and fails where it cannot.
      - V(revoked) revokes the certificate in O(dest) and leaves the files; the next run with V(present) issues a new one.
    type: str
    choices: [present, absent, revoked]
    default: present
  names:
    description:
      - The DNS names, up to 100, also wildcards (C(*.example.com)) and internationalised ones. The first is the common name.
      - Needed for O(state=present) unless O(csr_path) brings them.
    type: list
    elements: str
    default: []
  directory:
    description: V(production) or V(staging) of Let's Encrypt, or the URL of another CA's directory.
    type: str
    default: production
  ca_certificates:
    description: A file of certificates (PEM) to trust for the connection to the CA, instead of the system's.
    type: path
  account_key_path:
    description: The account's private key. Made (EC P-256, mode 0600) when it does not exist. Needed for O(state=present).
    type: path
  email:
    description: Given to the CA when the account is made.
    type: str
  terms_agreed:
    description: That you agree to the CA's terms of service. Has to be V(true) for O(state=present).
    type: bool
    default: false
  external_account_binding:
    description: For a CA that wants the account bound to a customer's one.
    type: dict
    suboptions:
      key_id:
        description: The CA's name for the key.
        type: str
        required: true
      key:
        description: The HMAC key, as base64url.
        type: str
        required: true
      algorithm:
        description: The HMAC.
        type: str
        choices: [HS256, HS384, HS512]
        default: HS256
  dest:
    description:
      - Where readers find C(privkey.pem), C(cert.pem), C(chain.pem) and C(fullchain.pem).
      - It becomes a symbolic link to a versioned folder beside it (C(.NAME.versions)), so that all files are switched at
        once and a key never stands beside another one's certificate. The last three versions are kept. A folder that
        holds a bundle of somebody else's is taken over.
    type: path
    required: true
  owner:
    description: Owner of the files, by name or number. Left as it is when not given.
    type: str
  group:
    description: Group of the files, by name or number. Left as it is when not given.
    type: str
  mode:
    description: Mode of C(privkey.pem), as an octal number in quotes. The other files are public (0644).
    type: str
    default: "0600"
  key_type:
    description: The certificate's key.
    type: str
    choices: [ec256, ec384, rsa2048, rsa4096]
    default: ec256
  new_key:
    description: Whether a renewal makes a new key.
    type: bool
    default: true
  csr_path:
    description:
      - A certificate signing request (PEM) whose key is kept elsewhere. Then there is no C(privkey.pem), and O(key_type)
        and O(new_key) mean nothing. O(names) may be left out; given, they have to be the request's.
    type: path
  certificate_profile:
    description: A profile of the CA, such as V(shortlived). (The option O(profile) is the one of the AWS connection.)
    type: str
  preferred_chain:
    description: The common name of an issuer. Of the chains that the CA offers the first one with it is taken.
    type: str
  dns_provider:
    description: Where TXT values are written. Needed for O(state=present).
    type: str
    choices: [route53, rfc2136]
  zone_id:
    description: The hosted zone, for O(dns_provider=route53). By default the public one that the DNS names by its SOA record.
    type: str
  server:
    description: The primary server, by name or address. Needed for O(dns_provider=rfc2136).
    type: str
  port:
    description: The server's port.
    type: int
    default: 53
  key_name:
    description: The name of the TSIG key. Needed for O(dns_provider=rfc2136).
    type: str
  key_secret:
    description: The TSIG key, as base64. Needed for O(dns_provider=rfc2136).
    type: str
  key_algorithm:
    description: The TSIG algorithm.
    type: str
    choices: [hmac-sha256, hmac-sha384, hmac-sha512]
    default: hmac-sha256
  transport:
    description: How updates are sent. Those of many names do not fit into a datagram.
    type: str
    choices: [tcp, udp]
    default: tcp
  zone:
    description: The zone to update, for O(dns_provider=rfc2136). By default the one that the server names by its SOA record.
    type: str
  nameservers:
    description:
      - Servers to ask instead of this machine's resolver and the delegated servers, each an address or a name, with C(:port)
        where it is not 53. For names that are not delegated in public, or not yet.
    type: list
    elements: str
  propagation_timeout:
    description: Seconds until the DNS provider has to have taken the values, and then all authoritative servers to have them.
    type: int
    default: 180
  order_timeout:
    description: Seconds for each part of the order (placing, validation, issuance), with all repetitions.
    type: int
    default: 180
  renew:
    description:
      - V(auto) renews at a point of the CA's suggested window, else at two thirds of the certificate's life. The point
        depends on the certificate alone, so check mode and the real run agree on it.
      - A number renews that many days before the end. One that is not shorter than the certificate's life would issue at
        every run, so it is taken for two thirds of the life, with a warning.
    type: str
    default: auto
  force:
    description: Issue in any case.
    type: bool
    default: false
  reason:
    description: Why it is revoked, for O(state=revoked).
    type: str
    choices: [unspecified, key_compromise, affiliation_changed, superseded, cessation_of_operation]
    default: unspecified
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
attributes:
  check_mode:
    description: Says whether it would issue and why, without an account, an order or a DNS change.
    support: full
  diff_mode:
    description: Shows what the certificate is and what it becomes, never a key.
    support: full
requirements:
  - Python 3.10 or later
  - acme >= 4.0
  - cryptography >= 42
  - dnspython >= 2.6
  - boto3 and botocore, for O(dns_provider=route53)
notes:
  - What was killed half way leaves the former files in place. Its TXT values are removed by the next run with the same
    O(dns_provider). Until they are, they stay written down beside O(dest), and every run warns of them.
  - A C(CNAME) at C(_acme-challenge) is followed, and the values are written where it ends.
author:
  - multiregion.paas contributors (@multiregion)
"""

EXAMPLES = r"""
- name: A certificate for an app and its regional names, by Route 53
  multiregion.paas.letsencrypt_dns01:
    names:
      - app.example.com
      - us-east-1.app.example.com
      - eu-west-1.app.example.com
    dest: /var/lib/paas/certificates/app
    account_key_path: /var/lib/paas/certificates/account.pem
    email: hostmaster@example.com
    terms_agreed: true
    dns_provider: route53

- name: An apex with its wildcard, by dynamic updates
  multiregion.paas.letsencrypt_dns01:
    names: [example.com, "*.example.com"]
    dest: /etc/ssl/example.com
    account_key_path: /etc/ssl/private/acme-account.pem
    terms_agreed: true
    dns_provider: rfc2136
    server: ns1.example.com
    key_name: acme
    key_secret: "{{ tsig_secret }}"

- name: Six-day certificates, tried at the CA's staging service
  multiregion.paas.letsencrypt_dns01:
    names: [app.example.com]
    directory: staging
    certificate_profile: shortlived
    dest: /var/lib/paas/certificates/app
    account_key_path: /var/lib/paas/certificates/account.pem
    terms_agreed: true
    dns_provider: route53

- name: A key that was seen by others
  multiregion.paas.letsencrypt_dns01:
    state: revoked
    reason: key_compromise
    dest: /var/lib/paas/certificates/app
"""

RETURN = r"""
reasons:
  description: Why it was (in check mode, would be) issued or changed; each begins with a fixed word and a colon.
  returned: success
  type: list
  elements: str
  sample: ["names: the certificate is without eu-west-1.app.example.com"]
not_after:
  description: The end of the certificate that is in place. None when there is none.
  returned: success
  type: str
  sample: "2026-12-01T08:00:00Z"
renew_at:
  description: When a run will renew it.
  returned: success
  type: str
  sample: "2026-11-01T09:12:44Z"
serial:
  description: The serial number, as C(openssl x509 -serial) writes it.
  returned: success
  type: str
  sample: 03A1B2
issuer:
  description: The issuer's distinguished name.
  returned: success
  type: str
  sample: CN=E5,O=Let's Encrypt,C=US
names:
  description: The certificate's names, as A-labels.
  returned: success
  type: list
  elements: str
  sample: [app.example.com]
paths:
  description: Where readers find the files.
  returned: success
  type: dict
  contains:
    dest:
      description: The folder.
      type: str
      returned: success
    privkey:
      description: The private key.
      type: str
      returned: success
    cert:
      description: The certificate.
      type: str
      returned: success
    chain:
      description: The CA's certificates.
      type: str
      returned: success
    fullchain:
      description: Both.
      type: str
      returned: success
timings:
  description: Seconds by phase, with their sum.
  returned: always
  type: dict
  sample: {order: 0.4, propagation: 2.1, total: 4.9}
acme_requests:
  description: How many requests the CA got.
  returned: always
  type: int
  sample: 12
problem:
  description: The CA's own problem document.
  returned: when the CA refused something
  type: dict
problems:
  description: The CA's problem documents by name.
  returned: when names could not be validated
  type: list
  elements: dict
dns_answers:
  description: What each DNS server answered at that moment, by TXT name.
  returned: when names could not be validated, or the values did not reach all servers
  type: dict
"""

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.multiregion.paas.plugins.module_utils._acme import ca, crypto, plan, resolve, rfc2136, route53, runner
from ansible_collections.multiregion.paas.plugins.module_utils._acme.errors import AcmeError, InputError, Stopped
from ansible_collections.multiregion.paas.plugins.module_utils._aws import BOTO3_IMPORT_ERROR
from ansible_collections.multiregion.paas.plugins.module_utils._aws import argument_spec as aws_argument_spec
from ansible_collections.multiregion.paas.plugins.module_utils._aws import client as aws_client


def argument_spec():
    spec = aws_argument_spec()
    spec.update(
        state=dict(type="str", choices=["present", "absent", "revoked"], default="present"),
        names=dict(type="list", elements="str", default=[]),
        directory=dict(type="str", default="production"),
        ca_certificates=dict(type="path"),
        account_key_path=dict(type="path", no_log=False),
        email=dict(type="str"),
        terms_agreed=dict(type="bool", default=False),
        external_account_binding=dict(
            type="dict",
            options=dict(
                key_id=dict(type="str", required=True, no_log=False),
                key=dict(type="str", required=True, no_log=True),
                algorithm=dict(type="str", choices=["HS256", "HS384", "HS512"], default="HS256"),
            ),
        ),
        dest=dict(type="path", required=True),
        owner=dict(type="str"),
        group=dict(type="str"),
        mode=dict(type="str", default="0600"),
        key_type=dict(type="str", choices=list(crypto.KEY_TYPES), default="ec256", no_log=False),
        new_key=dict(type="bool", default=True, no_log=False),
        csr_path=dict(type="path"),
        certificate_profile=dict(type="str"),
        preferred_chain=dict(type="str"),
        dns_provider=dict(type="str", choices=["route53", "rfc2136"]),
        zone_id=dict(type="str"),
        server=dict(type="str"),
        port=dict(type="int", default=53),
        key_name=dict(type="str", no_log=False),
        key_secret=dict(type="str", no_log=True),
        key_algorithm=dict(type="str", choices=list(rfc2136.ALGORITHMS), default="hmac-sha256", no_log=False),
        transport=dict(type="str", choices=["tcp", "udp"], default="tcp"),
        zone=dict(type="str"),
        nameservers=dict(type="list", elements="str"),
        propagation_timeout=dict(type="int", default=180),
        order_timeout=dict(type="int", default=180),
        renew=dict(type="str", default="auto"),
        force=dict(type="bool", default=False),
        reason=dict(type="str", choices=list(plan.REVOCATION_REASONS), default="unspecified"),
    )
    return spec


def require_libraries(module):
    needed = [("cryptography", crypto.CRYPTOGRAPHY_IMPORT_ERROR), ("acme", ca.ACME_IMPORT_ERROR), ("dnspython", resolve.DNSPYTHON_IMPORT_ERROR)]
    if module.params["dns_provider"] == "route53":
        needed.append(("boto3", BOTO3_IMPORT_ERROR))
    for name, error in needed:
        if error is not None:
            module.fail_json(msg=missing_required_lib(name), exception=error)


def make_provider(module, dns_view):
    params = module.params
    if params["dns_provider"] == "route53":
        return route53.Route53(dns_view, aws_client(module, "route53", config=route53.client_config()), params["zone_id"])
    names = ("server", "port", "key_name", "key_secret", "key_algorithm", "transport", "zone")
    return rfc2136.Rfc2136(dns_view, **{name: params[name] for name in names})


def main():
    module = AnsibleModule(
        argument_spec=argument_spec(),
        required_if=[
            ("state", "present", ("dns_provider", "account_key_path")),
            ("dns_provider", "rfc2136", ("server", "key_name", "key_secret")),
        ],
        supports_check_mode=True,
    )
    require_libraries(module)
    task = None
    try:
        task = runner.from_options(module.params, resolve.Dns, lambda view: make_provider(module, view), module.warn, module.check_mode)
        result, diff = task.run(module.params["state"], module.params["reason"])
    except Stopped as error:
        module.fail_json(msg="Stopped by %s; %s" % (error.signal_name, task.told_of_the_dns()), timings=task.clock.result())
    except InputError as error:
        module.fail_json(msg=error.message, exception=traceback.format_exc(), **error.details)
    except AcmeError as error:
        module.fail_json(msg=error.message, exception=traceback.format_exc(), **dict(task.failure(), **error.details))
    if module._diff:
        result["diff"] = diff
    module.exit_json(**result)


if __name__ == "__main__":
    main()
