#!/usr/bin/python
# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: route53_latency
short_description: Latency-routed names over several regions with health checks, in one atomic change
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Declares whole names that Amazon Route 53 answers with the nearest healthy region.
  - Every endpoint also gets a name of its own, C(<label>.<name>), with one multivalue record per address and a health check for
    each. The latency record is an alias to it, so that a region leaves the answers when none of its hosts is healthy.
  - Reads only the names it needs, plans, applies the change in one batch where the limits of the API allow it, and reads back.
    At every moment in between the names still answer.
  - Health checks are shared by all names that need the same one. Only health checks made by this module are ever changed or
    deleted, and deleted only after every zone of the account was read and no record names them.
  - A and AAAA records are steered apart by Route 53. AAAA records are published only when every endpoint has an IPv6 address;
    otherwise a warning says which lacks one.
options:
  zone:
    description:
      - The name of the hosted zone. Exactly one of O(zone) and O(zone_id) is required.
    type: str
  zone_id:
    description:
      - The id of the hosted zone, needed where several zones have the same name.
    type: str
  private_zone:
    description:
      - Whether a private hosted zone is meant.
    type: bool
    default: false
  names:
    description:
      - The names, which all get the same endpoints. Wildcards (V(*.example.com)) and international names are allowed.
    type: list
    elements: str
    required: true
    aliases: [name]
  endpoints:
    description:
      - Where the names lead to, one element for each region.
      - Required and not empty with O(state=present). The last endpoint of a name is removed only by O(state=absent).
    type: list
    elements: dict
    default: []
    suboptions:
      region:
        description:
          - The AWS region whose users are sent here. A host outside AWS names the nearest region.
        type: str
        required: true
      label:
        description:
          - Set identifier and first label of the regional name. The default is the region.
        type: str
      addresses:
        description:
          - IPv4 and IPv6 addresses. Exactly one of O(endpoints[].addresses) and O(endpoints[].target) is needed.
        type: list
        elements: str
      target:
        description:
          - A load balancer, a CloudFront distribution or another record, by alias.
          - It serves IPv6 when it is a CloudFront distribution or its name begins with C(dualstack.).
        type: dict
        suboptions:
          dns_name:
            description:
              - The name of the target.
            type: str
            required: true
          zone_id:
            description:
              - The id of the hosted zone of the target.
            type: str
            required: true
          evaluate_target_health:
            description:
              - Whether the health of the target counts. The default is V(true), and V(false) for CloudFront, which has none.
            type: bool
  ttl:
    description:
      - Time to live of the records in seconds. Time to fail over is interval x failure threshold + TTL.
    type: int
    default: 60
  regional_names:
    description:
      - Whether each endpoint also gets a name of its own.
      - V(false) makes plain latency records, which hold one address for each family and region.
      - The regional name of a wildcard V(*.example.com) is C(<label>._wildcard.example.com).
    type: bool
    default: true
  health_check:
    description:
      - How the addresses are checked. Without it there are no health checks.
      - Targets have none; their own health is evaluated.
    type: dict
    suboptions:
      type:
        description:
          - The protocol. With O(health_check.search_string), V(HTTP) and V(HTTPS) mean their C(_STR_MATCH) kind.
        type: str
        choices: [HTTP, HTTPS, HTTP_STR_MATCH, HTTPS_STR_MATCH, TCP]
        default: HTTPS
      port:
        description:
          - The default is 80 for HTTP, and 443 otherwise.
        type: int
      path:
        description:
          - What is asked for. The default is V(/).
        type: str
      search_string:
        description:
          - What the first 5120 bytes of the body have to contain.
        type: str
      host:
        description:
          - The name in the C(Host) header and the TLS server name. Without it the address is asked without a name.
        type: str
      interval:
        description:
          - Seconds between two checks. Another interval needs a new health check, which is made before the old one goes.
        type: int
        choices: [10, 30]
        default: 30
      failure_threshold:
        description:
          - How many results in a row change the state, from 1 to 10.
        type: int
        default: 3
      regions:
        description:
          - Where Route 53 checks from, at least three regions. The default is all.
        type: list
        elements: str
      measure_latency:
        description:
          - Whether Route 53 measures and shows latency.
        type: bool
        default: false
      enable_sni:
        description:
          - Whether the TLS server name is sent. The default is V(true) when there is a O(health_check.host).
        type: bool
  purge:
    description:
      - Whether endpoints of these names that are not listed are removed, with their regional names and health checks.
    type: bool
    default: true
  only_remove:
    description:
      - Only takes out of the answer what is not listed, and only where something that is listed answers already. Nothing is added or
        updated, and health checks stay. For the moment before hosts or regions that leave lose what they need to serve; a task
        without it does the rest afterwards.
    type: bool
    default: false
  replace_policy:
    description:
      - Whether simple, weighted, failover, geolocation or C(CNAME) records that stand in the way are migrated, in the same batch.
        Otherwise they are an error.
    type: bool
    default: false
  wait:
    description:
      - Whether to wait until every name server of Route 53 has the change, usually within 60 seconds.
    type: bool
    default: false
  wait_timeout:
    description:
      - Seconds for the whole task, waiting and retries of throttled calls included.
    type: int
    default: 300
  state:
    description:
      - V(absent) removes all latency records of the names, their regional names and their health checks.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Can run in check mode and tells what it would change.
    support: full
  diff_mode:
    description: Shows one line for each record and health check that changes.
    support: full
  idempotent:
    description: Run again with the same options it changes nothing.
    support: full
notes:
  - Set credentials and region for all AWS modules of this collection with C(module_defaults) for C(group/multiregion.paas.aws).
  - Needs the permissions C(route53:ListHostedZonesByName) (with O(zone_id), C(GetHostedZone)), C(ListResourceRecordSets),
    C(ChangeResourceRecordSets), C(GetChange), C(ListHealthChecks), C(CreateHealthCheck), C(UpdateHealthCheck), C(DeleteHealthCheck),
    C(ChangeTagsForResource) and C(ListTagsForResources). To delete health checks it has to read every zone, with C(ListHostedZones)
    and C(ListResourceRecordSets) on all; without that it keeps them and warns.
  - Everything that this module makes is managed by one declaration. Do not declare one name in two tasks.
  - Names of several tasks share a health check when address, port, type, path, host, interval and measuring are the same. Declare its failure
    threshold, search string and checker regions the same there too, as each task puts them right.
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
seealso:
  - module: amazon.aws.route53
  - module: amazon.aws.route53_health_check
"""

EXAMPLES = r"""
- name: Send every user of the app to the nearest healthy region
  multiregion.paas.route53_latency:
    zone: example.com
    names: [app.example.com]
    endpoints:
      - region: us-east-1
        addresses: [192.0.2.11, 192.0.2.12]
      - region: eu-west-1
        addresses: [198.51.100.11]
    health_check:
      type: HTTPS
      host: app.example.com
      path: /.well-known/region-health
      interval: 10

- name: Steer between load balancers, replacing the CNAME that was there
  multiregion.paas.route53_latency:
    zone: example.com
    names: [www.example.com]
    replace_policy: true
    endpoints:
      - region: us-east-1
        target:
          dns_name: dualstack.web-1.us-east-1.elb.amazonaws.com
          zone_id: Z35SXDOTRQ7X7K
      - region: eu-west-1
        target:
          dns_name: dualstack.web-2.eu-west-1.elb.amazonaws.com
          zone_id: Z32O12XQLNTSW2

- name: Remove a name with its regional names and health checks
  multiregion.paas.route53_latency:
    zone: example.com
    names: [app.example.com]
    state: absent
"""

RETURN = r"""
changes:
  description: What was changed, or in check mode would be, in this order.
  returned: always
  type: list
  elements: dict
  contains:
    action:
      description: One of C(create), C(update) and C(delete).
      type: str
      returned: always
    name:
      description: The name of the record, or what a health check asks.
      type: str
      returned: always
    type:
      description: The record type, or C(health_check).
      type: str
      returned: always
    set_identifier:
      description: The set identifier of the record.
      type: str
      returned: always
  sample:
    - action: create
      name: app.example.com
      type: A
      set_identifier: us-east-1
change_ids:
  description: The ids of the batches, for C(GetChange).
  returned: always
  type: list
  elements: str
  sample: [C2682N5HXP0BZ4]
records:
  description: The record sets of the names as declared.
  returned: success
  type: list
  elements: dict
  sample:
    - name: app.example.com
      type: A
      set_identifier: us-east-1
      region: us-east-1
      alias: us-east-1.app.example.com
      values: []
      ttl: null
      health_check_id: null
health_checks:
  description: The health checks of the names; the id is null for one that check mode would make.
  returned: success
  type: list
  elements: dict
  sample:
    - id: 5b8f8f4c-2f2e-4f0e-9a39-1d6f2b1c9a11
      address: 192.0.2.11
      port: 443
      type: HTTPS
      path: /.well-known/region-health
      host: app.example.com
      interval: 10
      failure_threshold: 3
zone_id:
  description: The id of the hosted zone.
  returned: success
  type: str
  sample: Z1D633PJN98FT9
api_calls:
  description: How many calls were made, by operation, retries included.
  returned: always
  type: dict
  sample:
    list_health_checks: 1
    list_hosted_zones_by_name: 1
    list_resource_record_sets: 1
"""

from ansible_collections.multiregion.paas.plugins.module_utils._aws import aws_module, other_botocore_errors, warn
from ansible_collections.multiregion.paas.plugins.module_utils._route53.aws import connect, regions_of
from ansible_collections.multiregion.paas.plugins.module_utils._route53.declaration import declare
from ansible_collections.multiregion.paas.plugins.module_utils._route53.errors import Route53Error
from ansible_collections.multiregion.paas.plugins.module_utils._route53.runner import Runner

ARGUMENT_SPEC = dict(
    zone=dict(type="str"),
    zone_id=dict(type="str"),
    private_zone=dict(type="bool", default=False),
    names=dict(type="list", elements="str", required=True, aliases=["name"]),
    endpoints=dict(
        type="list",
        elements="dict",
        default=[],
        options=dict(
            region=dict(type="str", required=True),
            label=dict(type="str"),
            addresses=dict(type="list", elements="str"),
            target=dict(
                type="dict",
                options=dict(
                    dns_name=dict(type="str", required=True),
                    zone_id=dict(type="str", required=True),
                    evaluate_target_health=dict(type="bool"),
                ),
            ),
        ),
        mutually_exclusive=[("addresses", "target")],
        required_one_of=[("addresses", "target")],
    ),
    ttl=dict(type="int", default=60),
    regional_names=dict(type="bool", default=True),
    health_check=dict(
        type="dict",
        options=dict(
            type=dict(type="str", choices=["HTTP", "HTTPS", "HTTP_STR_MATCH", "HTTPS_STR_MATCH", "TCP"], default="HTTPS"),
            port=dict(type="int"),
            path=dict(type="str"),
            search_string=dict(type="str"),
            host=dict(type="str"),
            interval=dict(type="int", choices=[10, 30], default=30),
            failure_threshold=dict(type="int", default=3),
            regions=dict(type="list", elements="str"),
            measure_latency=dict(type="bool", default=False),
            enable_sni=dict(type="bool"),
        ),
    ),
    purge=dict(type="bool", default=True),
    only_remove=dict(type="bool", default=False),
    replace_policy=dict(type="bool", default=False),
    wait=dict(type="bool", default=False),
    wait_timeout=dict(type="int", default=300),
    state=dict(type="str", choices=["present", "absent"], default="present"),
)


def main():
    module = aws_module(
        argument_spec=ARGUMENT_SPEC,
        mutually_exclusive=[("zone", "zone_id")],
        required_one_of=[("zone", "zone_id")],
        supports_check_mode=True,
    )
    try:
        client, api = connect(module, module.params["wait_timeout"])
        zone = api.find_zone(module.params["zone"], module.params["zone_id"], module.params["private_zone"])
        declaration = declare(module.params, zone, regions_of(client, "ResourceRecordSetRegion"), regions_of(client, "HealthCheckRegion"))
        runner = Runner(api, declaration, module.params["wait"])
        result = runner.run(module.check_mode)
        for warning in runner.warnings:
            warn(module, warning)
    except Route53Error as error:
        module.fail_json(msg=error.message, **error.details)
    except other_botocore_errors() as error:
        module.fail_json_aws(error, msg="Route 53 could not be asked")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
