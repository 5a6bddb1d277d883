package main

import (
	"context"
	"fmt"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	"k8s.io/api/admissionregistration/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
)

var options = plugincel.OptionalVariableDeclarations{HasAuthorizer: true}

// mutate does what the plugin's dispatcher does with one policy: match conditions, then the mutations in their order.
// See k8s.io/apiserver/pkg/admission/plugin/policy/mutating, compilation.go and dispatcher.go.
func mutate(ctx context.Context, policy *v1beta1.MutatingAdmissionPolicy, pod *corev1.Pod) (runtime.Object, error) {
	compiler, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		return nil, err
	}
	kind := corev1.SchemeGroupVersion.WithKind("Pod")
	resource := corev1.SchemeGroupVersion.WithResource("pods")
	attributes := admission.NewAttributesRecord(
		pod, nil, kind, pod.Namespace, pod.Name, resource, "", admission.Create, nil, false, nil)
	versioned := &admission.VersionedAttributes{Attributes: attributes, VersionedKind: kind, VersionedObject: pod}
	match := matcher(compiler, policy).Match(ctx, versioned, nil, nil)
	if match.Error != nil {
		return nil, fmt.Errorf("match conditions: %w", match.Error)
	}
	if !match.Matches {
		return pod, nil
	}
	converter := applyconfigurations.NewTypeConverter(scheme.Scheme)
	interfaces := admission.NewObjectInterfacesFromScheme(scheme.Scheme)
	for number, mutation := range policy.Spec.Mutations {
		request := patch.Request{
			MatchedResource:     resource,
			VersionedAttributes: versioned,
			ObjectInterfaces:    interfaces,
			Namespace:           &corev1.Namespace{},
			TypeConverter:       converter,
		}
		patched, err := patcher(compiler, mutation).Patch(ctx, request, celconfig.RuntimeCELCostBudget)
		if err != nil {
			return nil, fmt.Errorf("mutation %d: %w", number, err)
		}
		typed, err := interfaces.GetObjectConvertor().ConvertToVersion(patched, corev1.SchemeGroupVersion)
		if err != nil {
			return nil, fmt.Errorf("mutation %d gives no pod: %w", number, err)
		}
		versioned.VersionedObject = typed
	}
	return versioned.VersionedObject, nil
}

func matcher(compiler *plugincel.CompositedCompiler, policy *v1beta1.MutatingAdmissionPolicy) matchconditions.Matcher {
	accessors := make([]plugincel.ExpressionAccessor, len(policy.Spec.MatchConditions))
	for i := range policy.Spec.MatchConditions {
		accessors[i] = (*matchconditions.MatchCondition)(&policy.Spec.MatchConditions[i])
	}
	compiled := compiler.CompileCondition(accessors, options, environment.StoredExpressions)
	fail := admissionregistration.Fail
	return matchconditions.NewMatcher(compiled, &fail, "policy", "validate", policy.Name)
}

func patcher(compiler *plugincel.CompositedCompiler, mutation v1beta1.Mutation) patch.Patcher {
	patching := options
	patching.HasPatchTypes = true
	if mutation.PatchType == v1beta1.PatchTypeJSONPatch {
		accessor := &patch.JSONPatchCondition{Expression: mutation.JSONPatch.Expression}
		return patch.NewJSONPatcher(compiler.CompileMutatingEvaluator(accessor, patching, environment.StoredExpressions))
	}
	accessor := &patch.ApplyConfigurationCondition{Expression: mutation.ApplyConfiguration.Expression}
	return patch.NewApplyConfigurationPatcher(compiler.CompileMutatingEvaluator(accessor, patching, environment.StoredExpressions))
}
