#!/usr/bin/env python3
"""Builds a whole service over the Network Controller REST interface, the way its documented clients do, and takes it down again.

    network_controller.py build|members|teardown --server https://127.0.0.1:8443 --ca ca.pem [--token T] --member NAME=ADDRESS ... --vip ADDRESS

It speaks plain REST with `requests`: spellings, strings for numbers and polling are those of the clients that people run. Each
step that is not answered as it should be ends the program with code 1 and the answer.
"""

import argparse
import json
import sys
import time

import requests


class Controller:
    """One server, and how its documented clients talk to it."""

    def __init__(self, server, ca, token=None, version="v1"):
        self.session = requests.Session()
        self.session.verify = ca
        # The machine's proxies have no business here.
        self.session.trust_env = False
        self.session.headers["Accept"] = "application/json"
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"
        self.base = server.rstrip("/") + f"/Networking/{version}"

    def call(self, method, path, body=None, expect=(200, 201), **headers):
        if body is not None:
            headers["Content-Type"] = "application/json; charset=UTF-8"
        answer = self.session.request(
            method,
            self.base + path,
            data=None if body is None else json.dumps(body),
            headers=headers,
            timeout=30,
        )
        if answer.status_code not in expect:
            sys.exit(f"{method} {path}: {answer.status_code}, not {expect}\n{answer.text}")
        return answer

    def put(self, path, properties, **more):
        """Writes a resource and waits until it is no longer `Updating`, as the clients do."""
        self.call("PUT", path, {"resourceId": path.rsplit("/", 1)[1], "properties": properties, **more})
        for _ in range(60):
            resource = self.get(path)
            state = resource["properties"]["provisioningState"]
            if state == "Succeeded":
                return resource
            if state != "Updating":
                break
            time.sleep(1)
        sys.exit(f"{path} is {state}: {json.dumps(resource)}")

    def get(self, path):
        return self.call("GET", path, expect=(200,)).json()

    def list(self, path):
        answer = self.get(path)
        if answer["nextLink"] != "":
            sys.exit(f"{path}: there is a next page: {answer['nextLink']}")
        return answer["value"]

    def delete(self, path):
        """Deletes and waits until it is gone, as the clients do."""
        self.call("DELETE", path, expect=(200, 202))
        for _ in range(100):
            if self.call("GET", path, expect=(200, 404)).status_code == 404:
                break
            time.sleep(1)
        else:
            sys.exit(f"{path} is still there")
        self.call("DELETE", path, expect=(204,))


def reference(path):
    return {"resourceRef": path}


def build(controller, members, vip, prefix):
    """From nothing to traffic."""
    network = vip.rsplit(".", 1)[0]
    pool = "/logicalnetworks/PublicVIP/subnets/vips/ipPools/all"
    controller.put(
        "/logicalnetworks/PublicVIP",
        {
            "networkVirtualizationEnabled": "false",
            "subnets": [
                {
                    "resourceId": "vips",
                    "properties": {
                        "addressPrefix": f"{network}.0/24",
                        "vlanID": "0",
                        "isPublic": "true",
                        "defaultGateways": [f"{network}.1"],
                        "ipPools": [
                            {
                                "resourceId": "all",
                                "properties": {
                                    "startIpAddress": f"{network}.10",
                                    "endIpAddress": f"{network}.99",
                                },
                            }
                        ],
                    },
                }
            ],
        },
    )
    controller.put(
        "/loadbalancermanager/config",
        {
            "loadBalancerManagerIPAddress": f"{network}.10",
            "OutboundNatIPExemptions": [f"{network}.10/32"],
            "vipIpPools": [reference(pool)],
        },
    )
    controller.put("/virtualServers/mux1", {"vmGuid": "5ee1ab1e-0000-4000-8000-000000000001", "connections": []})
    controller.put(
        "/loadBalancerMuxes/mux1",
        {
            "virtualServer": reference("/virtualServers/mux1"),
            "routerConfiguration": {
                "localASN": "64628",
                "peerRouterConfigurations": [
                    {"routerName": "tor", "routerIPAddress": f"{network}.1", "PeerASN": "64623"}
                ],
            },
        },
    )
    controller.put("/logicalnetworks/HNVPA", {"networkVirtualizationEnabled": True})
    controller.put(
        "/virtualNetworks/tenant",
        {
            "logicalNetwork": reference("/logicalnetworks/HNVPA"),
            "addressSpace": {"addressPrefixes": [prefix]},
            "subnets": [{"resourceId": "web", "properties": {"addressPrefix": prefix}}],
        },
    )
    controller.put(
        "/publicIPAddresses/service",
        {"publicIPAllocationMethod": "static", "ipAddress": vip, "idleTimeoutInMinutes": "4"},
    )

    # The balancer whole, in lower case and with strings, as the raw sample client sends it.
    here = "/loadbalancers/service"
    controller.put(
        "/LoadBalancers/service",
        {
            "frontendipconfigurations": [
                {
                    "resourceId": "fe",
                    "properties": {
                        "privateIPAllocationMethod": "Dynamic",
                        "publicIPAddress": reference("/publicIPAddresses/service"),
                    },
                }
            ],
            "backendAddressPools": [{"resourceId": "web", "properties": {}}],
            "loadBalancingRules": [],
            "inboundNatRules": [],
            "outboundNatRules": [],
            "probes": [],
        },
    )
    # The rest child by child, as the administration centre does it.
    controller.put(
        f"{here}/loadBalancingRules/web",
        {
            "frontendIPConfigurations": [reference(f"{here}/frontendipconfigurations/fe")],
            "backendAddressPool": reference(f"{here}/backendaddresspools/web"),
            "protocol": "TCP",
            "frontEndPort": "80",
            "backendPort": "8000",
            "enableFloatingIP": "false",
            "idleTimeoutInMinutes": "4",
            "loadDistribution": "default",
        },
    )
    controller.put(
        f"{here}/inboundNatRules/ssh",
        {
            "frontendIPConfigurations": [reference(f"{here}/frontendipconfigurations/fe")],
            "protocol": "TCP",
            "frontendPort": 2222,
            "backendPort": 2022,
            "enableFloatingIP": False,
        },
    )
    join(controller, members, here, members)

    # Somebody reads, changes nothing, and writes all of it back, read-only members included.
    service = controller.get("/loadBalancers/service")
    controller.call("PUT", "/loadBalancers/service", service, expect=(200,))
    again = controller.get("/loadBalancers/service")
    if len(again["properties"]["backendAddressPools"][0]["properties"]["backendIPConfigurations"]) != len(members):
        sys.exit(f"members were lost: {json.dumps(again)}")
    bound = again["properties"]["inboundNatRules"][0]["properties"]["backendIPConfiguration"]["resourceRef"]
    if bound.lower() != f"/networkinterfaces/{first(members)}/ipconfigurations/{first(members)}-ip".lower():
        sys.exit(f"the NAT rule is bound to {bound}")


def first(members):
    return next(iter(members))


def join(controller, members, here, joined):
    """The network interfaces: those in `joined` are members of the pool; the first one has the NAT rule."""
    for name, address in members.items():
        controller.put(
            f"/networkInterfaces/{name}",
            {
                "privateMacAllocationMethod": "Dynamic",
                "ipConfigurations": [
                    {
                        "resourceId": f"{name}-ip",
                        "properties": {
                            "privateIPAddress": address,
                            "privateIPAllocationMethod": "Static",
                            "subnet": reference("/virtualNetworks/tenant/subnets/web"),
                            "loadBalancerBackendAddressPools": [reference(f"{here}/backendAddressPools/web")]
                            if name in joined
                            else [],
                            "loadBalancerInboundNatRules": [reference(f"{here}/inboundNatRules/ssh")]
                            if name == first(members)
                            else [],
                        },
                    }
                ],
            },
        )


def teardown(controller, members):
    """To nothing again, in the order in which nothing is in use any more."""
    in_use = controller.call("DELETE", "/publicIPAddresses/service", expect=(409,))
    if not in_use.json()["error"]["code"]:
        sys.exit(f"no code: {in_use.text}")
    controller.delete("/loadBalancers/service")
    for name in members:
        pools = controller.get(f"/networkInterfaces/{name}")["properties"]["ipConfigurations"][0]["properties"]
        if pools["loadBalancerBackendAddressPools"] or pools["loadBalancerInboundNatRules"]:
            sys.exit(f"{name} still refers to the balancer: {json.dumps(pools)}")
        controller.delete(f"/networkInterfaces/{name}")
    controller.delete("/publicIPAddresses/service")
    controller.delete("/virtualNetworks/tenant")
    controller.delete("/loadBalancerMuxes/mux1")
    controller.delete("/virtualServers/mux1")
    controller.delete("/logicalnetworks/HNVPA")
    for collection in ("loadBalancers", "networkInterfaces", "publicIPAddresses", "virtualNetworks", "loadBalancerMuxes", "virtualServers"):
        if left := controller.list(f"/{collection}/"):
            sys.exit(f"{collection} are left: {json.dumps(left)}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["build", "members", "show", "teardown"])
    parser.add_argument("--server", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--token")
    parser.add_argument("--member", action="append", default=[], metavar="NAME=ADDRESS")
    parser.add_argument("--joined", action="append", default=[], metavar="NAME")
    parser.add_argument("--vip", default="")
    parser.add_argument("--prefix", default="10.20.1.0/24")
    parser.add_argument("--path", default="/loadBalancers/service")
    args = parser.parse_args()
    # States and counters came with v2.
    controller = Controller(args.server, args.ca, args.token, "v2" if args.what == "show" else "v1")
    members = dict(member.split("=", 1) for member in args.member)
    if args.what == "build":
        build(controller, members, args.vip, args.prefix)
    elif args.what == "members":
        join(controller, members, "/loadBalancers/service", args.joined)
    elif args.what == "show":
        print(json.dumps(controller.get(args.path)))
    else:
        teardown(controller, members)


if __name__ == "__main__":
    main()
