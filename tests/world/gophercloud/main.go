// What programs in Go do: Terraform's provider, Cluster API, the cloud provider of Kubernetes and others are made with
// gophercloud, here as Debian has it.
//
//	story URL ADMINS_PASSWORD
//
// prints a line `ok    WHAT` or `FAIL  WHAT: WHY` for each check.
package main

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"github.com/gophercloud/gophercloud"
	"github.com/gophercloud/gophercloud/openstack"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/credentials"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/domains"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/endpoints"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/extensions/ec2credentials"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/extensions/ec2tokens"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/extensions/oauth1"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/extensions/trusts"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/groups"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/policies"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/regions"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/services"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/openstack/identity/v3/users"
)

const password = "a password of the story"

var yes, no = true, false

// ok says whether a check holds, and why not.
func ok(what string, holds bool, why ...interface{}) bool {
	if holds {
		fmt.Println("ok    " + what)
	} else {
		fmt.Println("FAIL  "+what+":", why)
	}
	return holds
}

// good is a check that a call succeeds.
func good(what string, err error) bool { return ok(what, err == nil, err) }

// must ends a scene when a step that only prepares fails.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// status is that of the answer that refuses a call; 0 when it was not refused.
func status(err error) int {
	switch e := err.(type) {
	case gophercloud.ErrDefault400:
		return 400
	case gophercloud.ErrDefault401:
		return 401
	case gophercloud.ErrDefault403:
		return 403
	case gophercloud.ErrDefault404:
		return 404
	case gophercloud.ErrUnexpectedResponseCode:
		return e.Actual
	case *gophercloud.ErrUnableToReauthenticate:
		return status(e.ErrOriginal)
	}
	return 0
}

// cloud is the server, as its administrator sees it, with a domain of the story's own.
type cloud struct {
	url, password, domain, project string
	roles                          map[string]string
	admin                          *gophercloud.ServiceClient
}

// login gives a client for the identity service.
func (c *cloud) login(o gophercloud.AuthOptions) (*gophercloud.ServiceClient, error) {
	o.IdentityEndpoint = c.url
	provider, err := openstack.AuthenticatedClient(o)
	if err != nil {
		return nil, err
	}
	return openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{})
}

func (c *cloud) user(name string, role string) *users.User {
	u, err := users.Create(c.admin, users.CreateOpts{Name: name, DomainID: c.domain, Password: password}).Extract()
	must(err)
	if role != "" {
		must(roles.Assign(c.admin, c.roles[role], roles.AssignOpts{UserID: u.ID, ProjectID: c.project}).ExtractErr())
	}
	return u
}

// as logs a user in on the project.
func (c *cloud) as(u *users.User) *gophercloud.ServiceClient {
	s, err := c.login(gophercloud.AuthOptions{UserID: u.ID, Password: password, TenantID: c.project})
	must(err)
	return s
}

// token is what a client's token says.
func token(s *gophercloud.ServiceClient) (*tokens.Project, []string, error) {
	r := tokens.Get(s, s.Token())
	p, err := r.ExtractProject()
	if err != nil {
		return nil, nil, err
	}
	held, err := r.ExtractRoles()
	var names []string
	for _, each := range held {
		names = append(names, each.Name)
	}
	return p, names, err
}

// resources are made, changed, listed and deleted, as by Terraform.
func resources(c *cloud) {
	d, err := domains.Create(c.admin, domains.CreateOpts{Name: "made-in-go", Enabled: &yes}).Extract()
	good("a domain is made", err)
	p, err := projects.Create(c.admin, projects.CreateOpts{Name: "p", DomainID: d.ID, Tags: []string{"a", "b"}}).Extract()
	good("a project with tags", err)
	ok("it has its tags", len(p.Tags) == 2, p.Tags)
	pages, err := projects.List(c.admin, projects.ListOpts{Tags: "a", DomainID: d.ID}).AllPages()
	must(err)
	found, err := projects.ExtractProjects(pages)
	ok("it is found by a tag", err == nil && len(found) == 1 && found[0].ID == p.ID, err, found)
	name := "renamed"
	p, err = projects.Update(c.admin, p.ID, projects.UpdateOpts{Name: name, Enabled: &no}).Extract()
	ok("it is renamed and disabled", err == nil && p.Name == name && !p.Enabled, err)
	u, err := users.Create(c.admin, users.CreateOpts{Name: "u", DomainID: d.ID, Password: password,
		Options: map[users.Option]interface{}{users.IgnorePasswordExpiry: true}, Extra: map[string]interface{}{"email": "u@example"}}).Extract()
	ok("a user with options and an attribute", err == nil && u.Extra["email"] == "u@example" && u.Options["ignore_password_expiry"] == true, err, u)
	pages, err = users.List(c.admin, users.ListOpts{DomainID: d.ID, Filters: map[string]string{"name__contains": "u"}}).AllPages()
	must(err)
	people, err := users.ExtractUsers(pages)
	ok("they are found by a part of the name", err == nil && len(people) == 1, err, people)
	g, err := groups.Create(c.admin, groups.CreateOpts{Name: "g", DomainID: d.ID}).Extract()
	good("a group", err)
	good("a member", users.AddToGroup(c.admin, g.ID, u.ID).ExtractErr())
	in, err := users.IsMemberOfGroup(c.admin, g.ID, u.ID).Extract()
	ok("is one", err == nil && in, err)
	r, err := roles.Create(c.admin, roles.CreateOpts{Name: "made-in-go"}).Extract()
	good("a role", err)
	good("a grant", roles.Assign(c.admin, r.ID, roles.AssignOpts{GroupID: g.ID, ProjectID: p.ID}).ExtractErr())
	pages, err = roles.ListAssignments(c.admin, roles.ListAssignmentsOpts{UserID: u.ID, Effective: &yes, ScopeProjectID: p.ID}).AllPages()
	must(err)
	held, err := roles.ExtractRoleAssignments(pages)
	ok("which the member has", err == nil && len(held) == 1 && held[0].Role.ID == r.ID, err, held)
	good("it is taken back", roles.Unassign(c.admin, r.ID, roles.UnassignOpts{GroupID: g.ID, ProjectID: p.ID}).ExtractErr())
	region, err := regions.Create(c.admin, regions.CreateOpts{ID: "go"}).Extract()
	good("a region", err)
	s, err := services.Create(c.admin, services.CreateOpts{Type: "made-in-go", Extra: map[string]interface{}{"name": "s"}}).Extract()
	good("a service", err)
	e, err := endpoints.Create(c.admin, endpoints.CreateOpts{Availability: gophercloud.AvailabilityPublic, Name: "e", Region: region.ID,
		ServiceID: s.ID, URL: "http://s.example/"}).Extract()
	good("an endpoint", err)
	x, err := policies.Create(c.admin, policies.CreateOpts{Blob: []byte("{}"), Type: "application/json"}).Extract()
	if good("a stored policy", err) {
		_, err = policies.Update(c.admin, x.ID, policies.UpdateOpts{Type: "text/plain"}).Extract()
		good("is changed", err)
		good("and deleted", policies.Delete(c.admin, x.ID).ExtractErr())
	}
	v, err := credentials.Create(c.admin, credentials.CreateOpts{Type: "cert", Blob: "text", UserID: u.ID}).Extract()
	good("a credential", err)
	good("is deleted", credentials.Delete(c.admin, v.ID).ExtractErr())
	for what, err := range map[string]error{
		"the endpoint goes": endpoints.Delete(c.admin, e.ID).ExtractErr(), "the service goes": services.Delete(c.admin, s.ID).ExtractErr(),
		"the region goes": regions.Delete(c.admin, region.ID).ExtractErr(), "the role goes": roles.Delete(c.admin, r.ID).ExtractErr(),
	} {
		good(what, err)
	}
	_, err = domains.Update(c.admin, d.ID, domains.UpdateOpts{Enabled: &no}).Extract()
	must(err)
	good("the domain goes with all that is in it", domains.Delete(c.admin, d.ID).ExtractErr())
	_, err = users.Get(c.admin, u.ID).Extract()
	ok("its user too", status(err) == 404, err)
}

// applicationCredentials are what automation logs in with.
func applicationCredentials(c *cloud) {
	alice := c.user("alice", "member")
	her := c.as(alice)
	until := time.Now().UTC().Add(time.Hour).Truncate(time.Millisecond)
	made, err := applicationcredentials.Create(her, alice.ID, applicationcredentials.CreateOpts{
		Name: "terraform", Description: "of the story", Roles: []applicationcredentials.Role{{Name: "reader"}}, ExpiresAt: &until}).Extract()
	if !good("an application credential is made", err) {
		return
	}
	ok("with its secret, roles, project and end", made.Secret != "" && len(made.Roles) == 1 && made.ProjectID == c.project &&
		made.ExpiresAt.Equal(until), made)
	again, err := applicationcredentials.Get(her, alice.ID, made.ID).Extract()
	ok("it is shown without the secret", err == nil && again.Secret == "" && again.Name == "terraform", err)
	pages, err := applicationcredentials.List(her, alice.ID, applicationcredentials.ListOpts{Name: "terraform"}).AllPages()
	must(err)
	all, err := applicationcredentials.ExtractApplicationCredentials(pages)
	ok("and listed by name", err == nil && len(all) == 1, err)
	acting, err := c.login(gophercloud.AuthOptions{ApplicationCredentialID: made.ID, ApplicationCredentialSecret: made.Secret, AllowReauth: true})
	if good("a login by its id", err) {
		p, held, err := token(acting)
		ok("is on the project, with the one role", err == nil && p.ID == c.project && len(held) == 1 && held[0] == "reader", err, held)
		_, err = applicationcredentials.Create(acting, alice.ID, applicationcredentials.CreateOpts{Name: "another"}).Extract()
		ok("makes no other application credential", status(err) == 403, err)
		_, err = trusts.Create(acting, trusts.CreateOpts{TrusteeUserID: alice.ID, TrustorUserID: alice.ID, ProjectID: c.project,
			Roles: []trusts.Role{{Name: "reader"}}}).Extract()
		ok("nor a trust", status(err) == 403, err)
		_, err = ec2credentials.Create(acting, alice.ID, ec2credentials.CreateOpts{TenantID: c.project}).Extract()
		ok("nor a keypair", status(err) == 403, err)
	}
	_, err = c.login(gophercloud.AuthOptions{Username: "alice", DomainID: c.domain, ApplicationCredentialName: "terraform",
		ApplicationCredentialSecret: made.Secret})
	good("a login by its name and user", err)
	_, err = c.login(gophercloud.AuthOptions{ApplicationCredentialID: made.ID, ApplicationCredentialSecret: "wrong"})
	ok("a wrong secret is 401", status(err) == 401, err)
	limited, err := applicationcredentials.Create(her, alice.ID, applicationcredentials.CreateOpts{Name: "limited",
		AccessRules: []applicationcredentials.AccessRule{{Service: "compute", Method: "GET", Path: "/v2.1/servers"}}}).Extract()
	if good("one that is limited to an access rule", err) {
		pages, err := applicationcredentials.ListAccessRules(her, alice.ID).AllPages()
		must(err)
		rules, err := applicationcredentials.ExtractAccessRules(pages)
		ok("the rule is listed", err == nil && len(rules) == 1 && rules[0].Path == "/v2.1/servers", err, rules)
		err = applicationcredentials.DeleteAccessRule(her, alice.ID, rules[0].ID).ExtractErr()
		ok("and stays while it is used", status(err) == 403, err)
		good("its credential goes", applicationcredentials.Delete(her, alice.ID, limited.ID).ExtractErr())
		good("then the rule can go", applicationcredentials.DeleteAccessRule(her, alice.ID, rules[0].ID).ExtractErr())
	}
	good("the application credential is deleted", applicationcredentials.Delete(her, alice.ID, made.ID).ExtractErr())
	if acting != nil {
		_, err = tokens.Get(c.admin, acting.Token()).ExtractToken()
		ok("and its token is dead", status(err) == 404, err)
	}
}

// delegation is by trusts, and by keypairs.
func delegation(c *cloud) {
	alice, bob := c.user("trustor", "member"), c.user("trustee", "")
	her := c.as(alice)
	until := time.Now().UTC().Add(time.Hour)
	trust, err := trusts.Create(her, trusts.CreateOpts{TrustorUserID: alice.ID, TrusteeUserID: bob.ID, ProjectID: c.project, Impersonation: true,
		ExpiresAt: &until, Roles: []trusts.Role{{Name: "member"}}}).Extract()
	if !good("a trust is made", err) {
		return
	}
	provider, err := openstack.NewClient(c.url)
	must(err)
	login := trusts.AuthOptsExt{AuthOptionsBuilder: &tokens.AuthOptions{UserID: bob.ID, Password: password}, TrustID: trust.ID}
	err = openstack.AuthenticateV3(provider, login, gophercloud.EndpointOpts{})
	if good("the trustee logs in with it", err) {
		acting, err := openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{})
		must(err)
		who, err := tokens.Get(acting, acting.Token()).ExtractUser()
		ok("and is the trustor", err == nil && who.ID == alice.ID, err)
		pair, err := ec2credentials.Create(acting, alice.ID, ec2credentials.CreateOpts{TenantID: c.project}).Extract()
		ok("makes a keypair of the trust", err == nil && pair.TrustID == trust.ID, err)
		if err == nil {
			signed, err := (&ec2tokens.AuthOptions{Access: pair.Access, Secret: pair.Secret, Host: "cfn.example", Path: "/v1/", Verb: "GET",
				Params: map[string]string{"Action": "DescribeStacks", "SignatureVersion": "2", "SignatureMethod": "HmacSHA256",
					"Timestamp": time.Now().UTC().Format("2006-01-02T15:04:05Z")}}).ToTokenV3CreateMap(nil)
			must(err)
			delete(signed, "token")
			for what, by := range map[string]*gophercloud.ServiceClient{"a signed request is exchanged": c.admin} {
				var body interface{}
				_, err = by.Post(c.url+"/ec2tokens", signed, &body, &gophercloud.RequestOpts{OkCodes: []int{200}})
				good(what, err)
			}
		}
	}
	listed, err := trusts.List(her, trusts.ListOpts{TrustorUserID: alice.ID}).AllPages()
	must(err)
	mine, err := trusts.ExtractTrusts(listed)
	ok("the trustor sees the trust", err == nil && len(mine) == 1 && mine[0].ID == trust.ID, err)
	good("and ends it", trusts.Delete(her, trust.ID).ExtractErr())
	err = openstack.AuthenticateV3(provider, login, gophercloud.EndpointOpts{})
	ok("then nobody logs in with it", status(err) == 401, err)
}

// oauth is version 1.0a.
func oauth(c *cloud) {
	// By default an administrator alone may authorize.
	alice := c.user("resource-owner", "admin")
	her := c.as(alice)
	consumer, err := oauth1.CreateConsumer(c.admin, oauth1.CreateConsumerOpts{Description: "of the story"}).Extract()
	if !good("a consumer is made", err) {
		return
	}
	_, err = oauth1.UpdateConsumer(c.admin, consumer.ID, oauth1.UpdateConsumerOpts{Description: "changed"}).Extract()
	good("and changed", err)
	for _, method := range []oauth1.SignatureMethod{oauth1.HMACSHA1, oauth1.PLAINTEXT} {
		asked, err := oauth1.RequestToken(c.admin, oauth1.RequestTokenOpts{OAuthConsumerKey: consumer.ID, OAuthConsumerSecret: consumer.Secret,
			OAuthSignatureMethod: method, RequestedProjectID: c.project}).Extract()
		if !good("a request token", err) {
			return
		}
		allowed, err := oauth1.AuthorizeToken(her, asked.OAuthToken, oauth1.AuthorizeTokenOpts{Roles: []oauth1.Role{{Name: "reader"}}}).Extract()
		if !good("the owner authorizes it", err) {
			return
		}
		given, err := oauth1.CreateAccessToken(c.admin, oauth1.CreateAccessTokenOpts{OAuthConsumerKey: consumer.ID,
			OAuthConsumerSecret: consumer.Secret, OAuthToken: asked.OAuthToken, OAuthTokenSecret: asked.OAuthTokenSecret,
			OAuthVerifier: allowed.OAuthVerifier, OAuthSignatureMethod: method}).Extract()
		if !good("an access token", err) {
			return
		}
		provider, err := openstack.NewClient(c.url)
		must(err)
		login := &oauth1.AuthOptions{OAuthConsumerKey: consumer.ID, OAuthConsumerSecret: consumer.Secret, OAuthToken: given.OAuthToken,
			OAuthTokenSecret: given.OAuthTokenSecret, OAuthSignatureMethod: method}
		err = openstack.AuthenticateV3(provider, login, gophercloud.EndpointOpts{})
		if good("a login with it", err) {
			acting, err := openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{})
			must(err)
			p, held, err := token(acting)
			ok("is on the project, with the one role", err == nil && p.ID == c.project && len(held) == 1 && held[0] == "reader", err, held)
		}
		pages, err := oauth1.ListAccessTokens(her, alice.ID).AllPages()
		must(err)
		all, err := oauth1.ExtractAccessTokens(pages)
		ok("the owner sees the access token", err == nil && len(all) == 1, err)
		good("and ends it", oauth1.RevokeAccessToken(her, alice.ID, given.OAuthToken).ExtractErr())
		err = openstack.AuthenticateV3(provider, login, gophercloud.EndpointOpts{})
		ok("then nobody logs in with it", status(err) == 401, err)
	}
	good("the consumer is deleted", oauth1.DeleteConsumer(c.admin, consumer.ID).ExtractErr())
}

// passcodes are of RFC 6238.
func passcodes(c *cloud) {
	u := c.user("with-a-phone", "member")
	secret := []byte("a secret of twenty b")
	_, err := credentials.Create(c.admin, credentials.CreateOpts{Type: "totp", UserID: u.ID,
		Blob: base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)}).Extract()
	good("a secret for passcodes is stored", err)
	mac := hmac.New(sha1.New, secret)
	must(binary.Write(mac, binary.BigEndian, uint64(time.Now().Unix()/30)))
	sum := mac.Sum(nil)
	code := binary.BigEndian.Uint32(sum[sum[19]&15:]) & 0x7fffffff % 1000000
	s, err := c.login(gophercloud.AuthOptions{UserID: u.ID, Passcode: fmt.Sprintf("%06d", code), TenantID: c.project})
	if good("a login with a passcode", err) {
		p, _, err := token(s)
		ok("is on the project", err == nil && p.ID == c.project, err)
	}
	_, err = c.login(gophercloud.AuthOptions{UserID: u.ID, Passcode: fmt.Sprintf("%06d", (code+1)%1000000), TenantID: c.project})
	ok("another passcode is 401", status(err) == 401, err)
}

// scene runs one part of the story; one that ends early is a failure.
func scene(name string, part func(*cloud), c *cloud) {
	defer func() {
		if r := recover(); r != nil {
			ok(name+" is told to its end", false, r)
		}
	}()
	fmt.Println("\n== " + name)
	part(c)
}

func main() {
	c := &cloud{url: os.Args[1], password: os.Args[2], roles: map[string]string{}}
	admin, err := c.login(gophercloud.AuthOptions{Username: "admin", Password: c.password, DomainID: "default", TenantName: "admin"})
	must(err)
	c.admin = admin
	pages, err := roles.List(c.admin, nil).AllPages()
	must(err)
	all, err := roles.ExtractRoles(pages)
	must(err)
	for _, each := range all {
		c.roles[each.Name] = each.ID
	}
	d, err := domains.Create(c.admin, domains.CreateOpts{Name: "story"}).Extract()
	must(err)
	c.domain = d.ID
	p, err := projects.Create(c.admin, projects.CreateOpts{Name: "story", DomainID: d.ID}).Extract()
	must(err)
	c.project = p.ID
	scene("resources", resources, c)
	scene("application credentials", applicationCredentials, c)
	scene("trusts and keypairs", delegation, c)
	scene("OAuth 1.0a", oauth, c)
	scene("passcodes", passcodes, c)
}
